"""Which ReplicaSet gets how many pods: rolling, recreating, resizing, paused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.cluster.controllers.deployment import plan, status
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def template(version: str) -> Object:
    return {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": version}]},
    }


def deployment(replicas: int = 4, version: str = "v2", **spec: object) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "a"}},
            "template": template(version),
            **spec,
        },
    }


def replicaset(
    version: str,
    replicas: int,
    available: int | None = None,
    *,
    wanted: int = 4,
    revision: int = 1,
) -> Object:
    labelled = template(version)
    labelled["metadata"]["labels"]["pod-template-hash"] = version
    count = replicas if available is None else available
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"d-{version}",
            "namespace": "n",
            "uid": version,
            "creationTimestamp": f"2026-01-01T00:00:0{revision}Z",
            "annotations": {
                plan.REVISION: str(revision),
                plan.DESIRED: str(wanted),
                plan.MAX_REPLICAS: str(wanted + 1),
            },
        },
        "spec": {"replicas": replicas, "template": labelled},
        "status": {"replicas": replicas, "readyReplicas": count, "availableReplicas": count},
    }


def test_the_new_replicaset_carries_the_hash_and_what_surge_allows() -> None:
    observed = plan.observe(deployment(), [replicaset("v1", 4)], {})

    made = plan.new_replicaset(observed)

    digest = made["metadata"]["labels"]["pod-template-hash"]
    assert meta.name(made) == f"d-{digest}"
    assert made["spec"]["selector"]["matchLabels"] == {"app": "a", "pod-template-hash": digest}
    assert made["spec"]["replicas"] == 1
    assert made["metadata"]["annotations"][plan.REVISION] == "2"


def test_a_long_name_leaves_room_for_the_hash() -> None:
    declared = deployment()
    declared["metadata"]["name"] = "d" * 253

    assert len(meta.name(plan.new_replicaset(plan.observe(declared, [], {})))) == 253


def test_the_hash_depends_on_the_template_and_the_collisions() -> None:
    def name(obj: Object) -> str:
        return meta.name(plan.new_replicaset(plan.observe(obj, [], {})))

    salted = {**deployment(), "status": {"collisionCount": 1}}
    assert name(deployment(2)) == name(deployment(3))
    assert len({name(deployment()), name(deployment(version="v3")), name(salted)}) == 3


def test_the_current_replicaset_is_the_one_of_the_template() -> None:
    old, new = replicaset("v1", 4), replicaset("v2", 1, revision=2)

    observed = plan.observe(deployment(), [new, old], {})

    assert observed.current is new
    assert observed.old == [old]


def test_a_roll_grows_the_new_then_shrinks_the_old() -> None:
    grown = plan.observe(deployment(), [replicaset("v1", 4), replicaset("v2", 0, revision=2)], {})
    shrunk = plan.observe(deployment(), [replicaset("v1", 4), replicaset("v2", 1, revision=2)], {})

    assert plan.sizes(grown) == {"d-v2": 1}
    assert plan.sizes(shrunk) == {"d-v1": 2}


def test_old_pods_stay_while_new_ones_are_not_available() -> None:
    sets = [replicaset("v1", 3), replicaset("v2", 2, available=0, revision=2)]

    assert plan.sizes(plan.observe(deployment(), sets, {})) == {}


def test_pods_that_are_about_to_go_are_not_counted_on() -> None:
    """The old ReplicaSet was shrunk from 4 a moment ago, and its status does not tell that yet."""
    old = replicaset("v1", 3, available=4)
    rolling = {"maxSurge": 1, "maxUnavailable": 1}
    declared = deployment(strategy={"rollingUpdate": rolling})

    for available, sizes in ((0, {}), (1, {"d-v1": 2})):
        sets = [old, replicaset("v2", 2, available=available, revision=2)]
        assert plan.sizes(plan.observe(declared, sets, {})) == sizes


def test_old_pods_that_do_not_work_go_first() -> None:
    sets = [replicaset("v1", 4, available=0), replicaset("v2", 1, available=0, revision=2)]

    assert plan.sizes(plan.observe(deployment(), sets, {})) == {"d-v1": 3}


def test_a_paused_deployment_rolls_nothing_but_resizes() -> None:
    paused = deployment(8, paused=True)
    rolling = [replicaset("v1", 6, wanted=8), replicaset("v2", 4, wanted=8, revision=2)]

    assert plan.sizes(plan.observe(paused, rolling, {})) == {}
    assert plan.sizes(plan.observe(paused, [replicaset("v1", 0), rolling[0]], {})) == {"d-v1": 8}
    assert plan.sizes(plan.observe(paused, [replicaset("v2", 0)], {})) == {"d-v2": 8}
    assert not plan.may_create(plan.observe(paused, [], {}))
    assert plan.sizes(plan.observe(paused, [replicaset("v2", 4)], {})) == {"d-v2": 8}


def test_a_resize_during_a_roll_is_shared_out() -> None:
    sets = [replicaset("v1", 4), replicaset("v2", 1, revision=2)]

    sizes = plan.sizes(plan.observe(deployment(8), sets, {}))

    assert sum(sizes.values()) == 10
    assert sizes["d-v1"] > sizes["d-v2"] > 1


def test_notes_that_somebody_broke_are_written_anew() -> None:
    sets = [replicaset("v1", 4), replicaset("v2", 1, revision=2)]
    for entry in sets:
        entry["metadata"]["annotations"] = {
            plan.REVISION: "\u00b2",
            plan.DESIRED: "many",
            plan.MAX_REPLICAS: "most",
        }
    observed = plan.observe(deployment(), sets, {})

    assert plan.sizes(observed) == {"d-v1": 4, "d-v2": 1}
    assert plan.next_revision(observed) == 1


def test_scaling_to_nothing_during_a_roll_ends_all() -> None:
    sets = [replicaset("v1", 3), replicaset("v2", 2, revision=2)]

    assert plan.sizes(plan.observe(deployment(0), sets, {})) == {"d-v1": 0, "d-v2": 0}


def test_recreate_waits_for_the_last_old_pod() -> None:
    recreate = deployment(2, strategy={"type": "Recreate"})
    old = replicaset("v1", 2, wanted=2)
    empty = replicaset("v1", 0, wanted=2)
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Running"}}

    assert plan.sizes(plan.observe(recreate, [old], {})) == {"d-v1": 0}
    assert not plan.may_create(plan.observe(recreate, [old], {}))
    assert not plan.may_create(plan.observe(recreate, [empty], {"v1": [pod]}))
    assert plan.may_create(plan.observe(recreate, [empty], {"v1": []}))


def test_percentages_round_towards_safety_and_never_to_a_standstill() -> None:
    def limits(replicas: int, **rolling: object) -> plan.Limits:
        return plan.limits(deployment(replicas, strategy={"rollingUpdate": rolling}))

    assert limits(10) == plan.Limits(surge=3, unavailable=2)
    assert limits(1, maxSurge=0, maxUnavailable="25%") == plan.Limits(0, 1)
    assert limits(2, maxSurge="50%", maxUnavailable=5) == plan.Limits(1, 2)


def test_old_empty_replicasets_beyond_the_history_go() -> None:
    sets = [replicaset(f"v{n}", 0, revision=n) for n in (3, 4, 5)]
    sets.append(replicaset("v2", 4, revision=6))

    declared = deployment(revisionHistoryLimit=1)

    assert plan.outdated(plan.observe(declared, sets, {})) == []  # not while it rolls
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 4)
    declared["status"] = {"observedGeneration": 1, **counts}
    gone = plan.outdated(plan.observe(declared, sets, {}))
    assert [meta.name(entry) for entry in gone] == ["d-v3", "d-v4"]
    sets[0]["metadata"]["deletionTimestamp"] = sets[1]["metadata"]["deletionTimestamp"] = "then"
    assert plan.outdated(plan.observe(declared, sets, {})) == []  # one is left


def test_a_replicaset_follows_its_deployment_s_notes() -> None:
    current, old = replicaset("v2", 4, revision=1), replicaset("v1", 0, revision=2)
    declared = deployment(minReadySeconds=3)
    declared["metadata"]["annotations"] = {"kubernetes.io/change-cause": "back again"}

    patch = plan.renewal(plan.observe(declared, [current, old], {}), current)

    assert patch == {
        "metadata": {
            "annotations": {
                plan.REVISION: "3",
                plan.HISTORY: "1",
                "kubernetes.io/change-cause": "back again",
            }
        },
        "spec": {"minReadySeconds": 3},
    }
    assert plan.renewal(plan.observe(deployment(), [current], {}), current) == {}


def test_the_oldest_roll_backs_are_forgotten() -> None:
    current, old = replicaset("v2", 4, revision=1), replicaset("v1", 0, revision=2)
    current["metadata"]["annotations"][plan.HISTORY] = "7," + ",".join(["1234"] * 400)[:1998]

    patch = plan.renewal(plan.observe(deployment(), [current, old], {}), current)

    told = patch["metadata"]["annotations"][plan.HISTORY]
    assert (len(told), told[:5], told[-2:]) == (2000, "1234,", ",1")


def test_an_old_template_again_takes_its_replicaset_with_a_new_number() -> None:
    sets = [replicaset("v2", 0, revision=1), replicaset("v1", 4, revision=2)]
    observed = plan.observe(deployment(), sets, {})

    assert not plan.may_create(observed)
    assert plan.next_revision(observed) == 3


@given(
    wanted=st.integers(0, 20),
    old=st.integers(0, 20),
    surge=st.integers(0, 5),
    unavailable=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=60)
def test_a_roll_holds_its_limits_and_comes_to_its_end(
    wanted: int, old: int, surge: int, unavailable: int, data: st.DataObject
) -> None:
    """Whatever becomes ready when: never too many pods, never too few, and it finishes."""
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    target = deployment(wanted, strategy={"rollingUpdate": rolling})
    limits = plan.limits(target)
    old = min(old, wanted + limits.surge)
    first = replicaset("v1", old, wanted=wanted)
    second = replicaset("v2", 0, wanted=wanted, revision=2)
    floor = min(old, wanted - limits.unavailable)
    for step in range(200):
        for entry in (first, second):  # some pods become ready, in the end all do
            size, ready = plan.replicas(entry), plan.counted(entry, "availableReplicas")
            ready = min(ready, size)
            entry["status"]["availableReplicas"] = (
                size if step > 50 else data.draw(st.integers(ready, size))
            )
        observed = plan.observe(target, [first, second], {})
        for name, size in plan.sizes(observed).items():
            entry = first if name == "d-v1" else second
            shrink = max(0, plan.replicas(entry) - size)
            sick = plan.replicas(entry) - plan.counted(entry, "availableReplicas")
            entry["spec"]["replicas"] = size
            entry["status"]["availableReplicas"] -= max(0, shrink - sick)
        total = plan.replicas(first) + plan.replicas(second)
        available = sum(plan.counted(entry, "availableReplicas") for entry in (first, second))
        assert total <= max(wanted + limits.surge, old)
        if step > 50:
            assert available >= floor
        if (plan.replicas(first), plan.replicas(second)) == (0, wanted):
            return
    raise AssertionError(f"no end: {plan.replicas(first)} old, {plan.replicas(second)} new")


def test_a_finished_rollout_is_told() -> None:
    observed = plan.observe(deployment(), [replicaset("v2", 4)], {})
    observed.sets[0]["status"]["replicas"] = 4

    outcome = status.make(observed, NOW)

    reasons = {entry["type"]: entry["reason"] for entry in outcome.status["conditions"]}
    assert reasons == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    assert outcome.status["updatedReplicas"] == 4
    assert outcome.look_again_after is None


def test_a_rollout_that_does_not_move_runs_into_its_deadline() -> None:
    target = deployment(progressDeadlineSeconds=60)
    observed = plan.observe(target, [replicaset("v2", 4, available=0)], {})
    target["status"] = status.make(observed, NOW).status
    moved = status.make(observed, NOW + timedelta(seconds=10))
    target["status"] = moved.status

    late = status.make(observed, NOW + timedelta(seconds=61))

    assert moved.look_again_after == 50.0
    progressing = next(c for c in late.status["conditions"] if c["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert 'ReplicaSet "d-v2" has timed out progressing.' in progressing["message"]
    assert late.look_again_after is None


def test_a_recreation_that_waits_for_old_pods_runs_into_its_deadline_too() -> None:
    declared = deployment(progressDeadlineSeconds=60, strategy={"type": "Recreate"})
    assert progressing(declared, [replicaset("v2", 4, available=0)])["status"] == "True"
    declared["spec"]["template"] = template("v3")
    ending = replicaset("v2", 0)
    assert progressing(declared, [ending], NOW + timedelta(seconds=59))["status"] == "True"

    late = progressing(declared, [ending], NOW + timedelta(seconds=61))

    assert (late["status"], late["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert late["message"] == 'Deployment "d" has timed out progressing.'


def test_a_replicaset_that_was_there_before_is_found_not_created() -> None:
    declared = deployment()
    first, second = replicaset("v2", 0), replicaset("v1", 4, revision=2)
    declared["status"] = {"replicas": 4, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
         "message": 'ReplicaSet "d-v1" has successfully progressed.'}]}  # fmt: skip
    first["metadata"]["annotations"] |= plan.renewal(
        plan.observe(declared, [first, second], {}), first
    )["metadata"]["annotations"]

    told = progressing(declared, [first, second])

    assert (told["reason"], told["message"]) == (
        "FoundNewReplicaSet",
        'Found new replica set "d-v2"',
    )


def test_a_replicaset_that_was_refused_at_first_is_created() -> None:
    declared = deployment()
    refused = 'Failed to create new replica set "d-v2": no room'
    declared["status"] = status.not_created(declared, refused, NOW)

    assert progressing(declared, [replicaset("v2", 0)])["reason"] == "NewReplicaSetCreated"


def test_the_new_replicaset_s_failure_is_told_before_the_others() -> None:
    sets = [replicaset("v2", 4, revision=1), replicaset("v1", 4, revision=2)]
    for entry in sets:
        failure = {"type": "ReplicaFailure", "status": "True", "message": meta.name(entry)}
        entry["status"]["conditions"] = [{**failure, "reason": "FailedCreate"}]
    declared = deployment()
    progressing(declared, sets)

    assert (meta.condition(declared, "ReplicaFailure") or {})["message"] == "d-v2"


def test_an_unready_pod_after_the_rollout_is_no_rollout() -> None:
    target = deployment()
    done = plan.observe(target, [replicaset("v2", 4)], {})
    target["status"] = status.make(done, NOW).status
    hurt = plan.observe(target, [replicaset("v2", 4, available=3)], {})

    outcome = status.make(hurt, NOW + timedelta(hours=1))

    progressing = next(c for c in outcome.status["conditions"] if c["type"] == "Progressing")
    assert progressing["reason"] == "NewReplicaSetAvailable"
    assert outcome.status["unavailableReplicas"] == 1


def progressing(declared: Object, sets: list[Object], now: datetime = NOW) -> Object:
    outcome = status.make(plan.observe(declared, sets, {}), now)
    declared["status"] = outcome.status
    return meta.condition(declared, "Progressing") or {}


def test_a_pause_stops_the_deadline_and_is_told() -> None:
    declared = deployment(progressDeadlineSeconds=10)
    sets = [replicaset("v1", 3), replicaset("v2", 2, available=0, revision=2)]
    assert progressing(declared, sets)["reason"] == "NewReplicaSetCreated"

    declared["spec"]["paused"] = True
    late = NOW + timedelta(seconds=60)
    assert progressing(declared, sets, late)["reason"] == "DeploymentPaused"
    declared["spec"]["paused"] = False
    assert progressing(declared, sets, late)["reason"] == "DeploymentResumed"
    assert progressing(declared, sets, late + timedelta(seconds=9))["status"] == "Unknown"
    over = progressing(declared, sets, late + timedelta(seconds=11))
    assert (over["status"], over["reason"]) == ("False", "ProgressDeadlineExceeded")
    declared["spec"]["paused"] = True
    assert progressing(declared, sets, late)["reason"] == "ProgressDeadlineExceeded"


def test_without_a_deadline_nobody_asks_for_progress() -> None:
    declared = deployment(progressDeadlineSeconds=2**31 - 1)

    assert progressing(declared, [replicaset("v2", 4, available=0)]) == {}


def test_a_refused_replicaset_is_told() -> None:
    told = status.not_created(deployment(), "no room", NOW)["conditions"][0]

    assert (told["status"], told["reason"]) == ("False", "ReplicaSetCreateError")

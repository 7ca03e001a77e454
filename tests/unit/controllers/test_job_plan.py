"""A Job's life: pods made, counted once, retried, ended; how it says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bessemer.base.clock import format_time
from bessemer.cluster.controllers.job import indexes, plan
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def job(**spec: object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "n", "uid": "j"},
        "spec": {"completions": 1, "parallelism": 1, "template": {"spec": {}}, **spec},
    }


def pod(name: str, phase: str = "Running", *, counted: bool = False, ago: float = 0) -> Object:
    end = format_time(NOW - timedelta(seconds=ago))
    ended = phase in ("Succeeded", "Failed")
    states = [{"state": {"terminated": {"finishedAt": end}}}] if ended else []
    return {
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": name,
            "finalizers": [] if counted else [plan.FINALIZER],
        },
        "spec": {"nodeName": "one"},
        "status": {"phase": phase, "containerStatuses": states},
    }


def types(step: plan.Plan) -> dict[str, str]:
    return {c["type"]: c["status"] for c in step.status.get("conditions", ())}


def test_a_new_job_starts_its_clock_and_its_pods() -> None:
    step = plan.make(job(completions=5, parallelism=3), [], NOW)

    assert step.create == (None, None, None)
    assert step.status["startTime"] == format_time(NOW)


def test_no_more_pods_than_completions_are_left() -> None:
    declared = job(completions=3, parallelism=3)
    declared["status"] = {"succeeded": 1}

    assert plan.make(declared, [pod("a")], NOW).create == (None,)


def test_a_pod_is_counted_in_three_durable_steps() -> None:
    """Uid noted, finalizer off, number grown: a crash between any two loses nothing."""
    declared = job()
    noted = plan.make(declared, [pod("a", "Succeeded")], NOW)
    assert noted.status["uncountedTerminatedPods"] == {"succeeded": ["a"]}
    assert noted.untrack == ()

    declared["status"] = noted.status
    tracked = plan.make(declared, [pod("a", "Succeeded")], NOW)
    assert [meta.name(p) for p in tracked.untrack] == ["a"]
    assert "Complete" not in types(tracked)

    declared["status"] = tracked.status
    done = plan.make(declared, [pod("a", "Succeeded", counted=True)], NOW)
    assert done.status["succeeded"] == 1
    assert done.status["uncountedTerminatedPods"] == {}
    assert types(done) == {"SuccessCriteriaMet": "True", "Complete": "True"}
    assert done.status["completionTime"] == format_time(NOW)


def test_a_counted_pod_that_vanished_counts_all_the_same() -> None:
    declared = job()
    declared["status"] = {"uncountedTerminatedPods": {"succeeded": ["a"]}}

    assert plan.make(declared, [], NOW).status["succeeded"] == 1


def test_a_failure_waits_longer_each_time() -> None:
    declared = job(backoffLimit=6)
    pods = [pod("a", "Failed", counted=True, ago=15), pod("b", "Failed", counted=True, ago=5)]
    declared["status"] = {"failed": 2}

    step = plan.make(declared, pods, NOW)

    assert step.create == ()
    assert step.look_again_after == pytest.approx(15.0)
    assert plan.make(declared, pods, NOW + timedelta(seconds=15)).create == (None,)


def test_a_success_ends_the_waiting() -> None:
    declared = job(completions=2)
    declared["status"] = {"failed": 1, "succeeded": 1}
    pods = [pod("a", "Failed", counted=True, ago=5), pod("b", "Succeeded", counted=True, ago=1)]

    assert plan.make(declared, pods, NOW).create == (None,)


def test_too_many_failures_end_the_job_and_its_other_pods() -> None:
    declared = job(completions=3, parallelism=2, backoffLimit=0)
    pods = [pod("a", "Failed"), pod("b")]

    ending = plan.make(declared, pods, NOW)

    assert types(ending) == {"FailureTarget": "True"}
    assert [meta.name(p) for p in ending.delete] == ["b"]
    declared["status"] = ending.status
    counted = [pod("a", "Failed", counted=True), pod("b", "Failed", counted=True)]
    ended = plan.make(declared, counted, NOW)
    assert types(ended) == {"FailureTarget": "True", "Failed": "True"}
    assert ended.verdict is not None
    assert ended.verdict.reason == "BackoffLimitExceeded"


def test_restarts_inside_a_pod_count_with_on_failure() -> None:
    declared = job(backoffLimit=2, template={"spec": {"restartPolicy": "OnFailure"}})
    restarting = pod("a")
    restarting["status"]["containerStatuses"] = [{"restartCount": 2}]

    assert types(plan.make(declared, [restarting], NOW)) == {"FailureTarget": "True"}


def test_the_deadline_ends_the_job() -> None:
    declared = job(activeDeadlineSeconds=60)
    declared["status"] = {"startTime": format_time(NOW - timedelta(seconds=50))}
    assert plan.make(declared, [pod("a")], NOW).look_again_after == 10.0

    late = plan.make(declared, [pod("a")], NOW + timedelta(seconds=10))

    assert late.status["conditions"][0]["reason"] == "DeadlineExceeded"
    assert [meta.name(p) for p in late.delete] == ["a"]


def test_a_deleted_pod_without_a_node_counts_as_failed() -> None:
    gone = pod("a", "Pending")
    gone["spec"] = {}
    gone["metadata"]["deletionTimestamp"] = format_time(NOW)

    step = plan.make(job(), [gone], NOW)

    assert step.status["uncountedTerminatedPods"] == {"failed": ["a"]}


def test_a_work_queue_starts_no_more_after_the_first_success() -> None:
    queue = job(parallelism=3)
    del queue["spec"]["completions"]
    queue["status"] = {"succeeded": 1}

    running = plan.make(queue, [pod("a"), pod("b", "Succeeded", counted=True)], NOW)
    done = plan.make(queue, [pod("b", "Succeeded", counted=True)], NOW)

    assert running.create == ()
    assert "Complete" not in types(running)
    assert types(done)["Complete"] == "True"


def test_a_suspended_job_ends_its_pods_and_goes_on_later() -> None:
    declared = job(suspend=True)
    declared["status"] = {"startTime": format_time(NOW - timedelta(seconds=50))}

    asleep = plan.make(declared, [pod("a")], NOW)

    assert [meta.name(p) for p in asleep.drop] == ["a"]
    assert asleep.suspension == "Suspended"
    assert types(asleep) == {"Suspended": "True"}
    assert "startTime" not in asleep.status
    declared["status"], declared["spec"]["suspend"] = asleep.status, False
    awake = plan.make(declared, [], NOW)
    assert types(awake) == {"Suspended": "False"}
    assert awake.suspension == "Resumed"
    assert awake.status["startTime"] == format_time(NOW)
    assert awake.create == (None,)


def test_a_lowered_parallelism_ends_pods() -> None:
    step = plan.make(job(completions=9, parallelism=1), [pod("a"), pod("b"), pod("c")], NOW)

    assert len(step.drop) == 2
    assert step.create == ()


def test_a_finished_job_lives_as_long_as_it_says() -> None:
    declared = job(ttlSecondsAfterFinished=100)
    assert plan.expires_in(declared, NOW) is None
    done = {"type": "Complete", "status": "True", "lastTransitionTime": format_time(NOW)}
    declared["status"] = {"conditions": [done]}

    assert plan.expires_in(declared, NOW + timedelta(seconds=40)) == 60.0
    assert plan.expires_in(job(), NOW) is None
    declared["metadata"]["deletionTimestamp"] = format_time(NOW)
    assert plan.expires_in(declared, NOW) is None  # somebody else said how it goes


def indexed_pod(index: int, phase: str = "Running") -> Object:
    made = pod(f"j-{index}", phase)
    made["metadata"]["annotations"] = {indexes.ANNOTATION: str(index)}
    return made


def test_an_indexed_job_runs_each_index_once() -> None:
    declared = job(completions=4, parallelism=3, completionMode="Indexed")
    pods = [indexed_pod(0, "Succeeded"), indexed_pod(2)]

    step = plan.make(declared, pods, NOW)

    assert step.create == (1, 3)
    assert step.status["completedIndexes"] == "0"
    assert step.status["succeeded"] == 1


def test_an_index_that_failed_runs_again() -> None:
    declared = job(completions=2, parallelism=2, completionMode="Indexed")
    pods = [indexed_pod(0), indexed_pod(1, "Failed")]

    assert plan.make(declared, pods, NOW + timedelta(seconds=11)).create == (1,)


def test_indexes_are_written_as_upstream_writes_them() -> None:
    assert indexes.format_ranges([5, 0, 1, 2, 8, 9]) == "0-2,5,8,9"
    assert indexes.parse("0-2,5,8,9") == [0, 1, 2, 5, 8, 9]
    assert indexes.parse("") == []


def test_a_pod_learns_its_index_everywhere() -> None:
    made: Object = {
        "metadata": {"labels": {}},
        "spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]},
    }

    indexes.stamp(made, "j", 3)

    assert made["metadata"]["generateName"] == "j-3-"
    assert made["spec"]["hostname"] == "j-3"
    assert [entry["name"] for entry in made["spec"]["containers"][0]["env"]] == [
        "A",
        "JOB_COMPLETION_INDEX",
    ]

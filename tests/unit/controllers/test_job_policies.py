"""What a Job's policies make of its pods: failures, successes, indexes, replacement, managers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bessemer.base.clock import format_time
from bessemer.cluster.controllers.job import failures, indexes, plan, pod_tracking
from bessemer.kinds import jobrules, meta
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Object

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def job(**spec: Any) -> Object:
    declared: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "n", "uid": "j"},
        "spec": {"completions": 1, "parallelism": 1, "template": {"spec": {}}, **spec},
    }
    if "backoffLimitPerIndex" in spec:
        declared["spec"].setdefault("backoffLimit", 2**31 - 1)
    return declared


def indexed(count: int, **spec: Any) -> Object:
    return job(completions=count, parallelism=count, completionMode="Indexed", **spec)


def pod(
    name: str, phase: str = "Running", *, code: int = 1, ago: float = 0, **more: Any
) -> Object:
    end = format_time(NOW - timedelta(seconds=ago))
    ended = {"exitCode": code if phase == "Failed" else 0, "finishedAt": end}
    states = [{"name": "main", "state": {"terminated": ended}}]
    made: Object = {
        "metadata": {"name": name, "namespace": "n", "uid": name, "finalizers": [plan.FINALIZER]},
        "spec": {"nodeName": "one"},
        "status": {
            "phase": phase,
            "containerStatuses": states if phase in ("Failed", "Succeeded") else [],
            "conditions": more.get("conditions", []),
        },
    }
    if more.get("deleting"):
        made["metadata"] |= {"deletionTimestamp": end, "deletionGracePeriodSeconds": 30}
    if "index" in more:
        before = more.get("before", indexes.Failures())
        made["metadata"]["annotations"] = {
            indexes.ANNOTATION: str(more["index"]),
            "batch.kubernetes.io/job-index-failure-count": str(before.counted),
            "batch.kubernetes.io/job-index-ignored-failure-count": str(before.ignored),
        }
    return made


def names(pods: tuple[Object, ...]) -> list[str]:
    return [meta.name(each) for each in pods]


def reasons(step: plan.Plan) -> dict[str, str]:
    orjson.dumps(step.status)  # it is JSON as it stands
    return {c["type"]: c["reason"] for c in step.status.get("conditions", ()) if c["status"]}


def run(declared: Object, pods: list[Object], *, passes: int = 6) -> plan.Plan:
    """The last of some passes, each done as the reconciler does it."""
    step = plan.make(declared, pods, NOW)
    for _ in range(passes):
        declared["status"] = step.status
        for each in (*step.untrack, *step.drop):
            each["metadata"]["finalizers"] = []
        for each in (*step.drop, *step.delete):
            each["status"]["phase"] = "Failed"
            each["metadata"]["deletionTimestamp"] = format_time(NOW)
        step = plan.make(declared, pods, NOW)
    return step


# ---- podFailurePolicy


def on_codes(
    action: str, operator: str = "In", values: tuple[int, ...] = (42,), **more: Any
) -> Object:
    codes = {"operator": operator, "values": list(values), **more}
    return {"action": action, "onExitCodes": codes}


def on_condition(action: str, type_: str = "DisruptionTarget", status: str = "True") -> Object:
    return {"action": action, "onPodConditions": [{"type": type_, "status": status}]}


DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]


@pytest.mark.parametrize(
    ("rules", "failed", "action"),
    [
        ([on_codes("FailJob")], pod("a", "Failed", code=42), "FailJob"),
        ([on_codes("FailJob")], pod("a", "Failed", code=41), None),
        ([on_codes("FailJob", "NotIn")], pod("a", "Failed", code=41), "FailJob"),
        ([on_codes("FailJob", "NotIn")], pod("a", "Failed", code=42), None),
        ([on_codes("FailJob", "NotIn")], pod("a", "Failed", code=0), None),
        ([on_codes("FailJob", containerName="main")], pod("a", "Failed", code=42), "FailJob"),
        ([on_codes("FailJob", containerName="side")], pod("a", "Failed", code=42), None),
        ([on_codes("Count"), on_codes("FailJob")], pod("a", "Failed", code=42), "Count"),
        ([on_condition("Ignore")], pod("a", "Failed", conditions=DISRUPTED), "Ignore"),
        ([on_condition("Ignore", status="False")], pod("a", "Failed", conditions=DISRUPTED), None),
        ([on_condition("Ignore")], pod("a", "Failed"), None),
    ],
)
def test_the_first_rule_that_fits_decides(
    rules: list[Object], failed: Object, action: str | None
) -> None:
    found = failures.match(job(podFailurePolicy={"rules": rules}), failed)

    assert (found.action if found else None) == action


def test_a_fatal_exit_code_ends_the_job_with_the_reason() -> None:
    policy = {"rules": [on_condition("Ignore"), on_codes("FailJob")]}
    declared = job(podFailurePolicy=policy, podReplacementPolicy="Failed", parallelism=2)
    pods = [pod("a", "Failed", code=42), pod("b")]

    first = plan.make(declared, pods, NOW)

    assert reasons(first) == {"FailureTarget": "PodFailurePolicy"}
    message = (
        "Container main for pod n/a failed with exit code 42 matching FailJob rule at index 1"
    )
    assert first.status["conditions"][0]["message"] == message
    assert names(first.delete) == ["b"]
    last = run(declared, pods)
    assert reasons(last) == {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"}
    assert last.status["failed"] == 2


def test_an_ignored_failure_counts_nowhere_and_is_replaced() -> None:
    policy = {"rules": [on_condition("Ignore")]}
    declared = job(podFailurePolicy=policy, podReplacementPolicy="Failed", backoffLimit=0)
    lost = pod("a", "Failed", conditions=DISRUPTED, ago=11)

    step = plan.make(declared, [lost], NOW)

    assert names(step.untrack) == ["a"]
    assert step.create == (None,)
    assert "failed" not in run(declared, [lost]).status


# ---- successPolicy


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        ({"succeededIndexes": "0,2"}, True),
        ({"succeededIndexes": "0-2"}, False),
        ({"succeededIndexes": "0-2", "succeededCount": 2}, True),
        ({"succeededIndexes": "1-3", "succeededCount": 2}, False),
        ({"succeededCount": 2}, True),
        ({"succeededCount": 3}, False),
    ],
)
def test_a_job_may_succeed_before_all_indexes_did(rule: Object, met: bool) -> None:  # noqa: FBT001 - a table
    declared = indexed(4, successPolicy={"rules": [{"succeededCount": 4}, rule]})
    pods = [pod("a", "Succeeded", index=0), pod("c", "Succeeded", index=2), pod("d", index=3)]

    step = plan.make(declared, pods, NOW)

    assert reasons(step) == ({"SuccessCriteriaMet": "SuccessPolicy"} if met else {})
    assert names(step.drop) == (["d"] if met else [])
    if met:
        last = run(declared, pods)
        assert reasons(last) == {
            "SuccessCriteriaMet": "SuccessPolicy",
            "Complete": "SuccessPolicy",
        }
        assert last.status["conditions"][1]["message"] == "Matched rules at index 1"
        assert (last.status["succeeded"], last.status.get("failed")) == (2, None)


# ---- backoffLimitPerIndex, maxFailedIndexes, FailIndex


def test_an_index_is_tried_as_often_as_it_may() -> None:
    declared = indexed(2, backoffLimitPerIndex=1)
    pods = [pod("a", "Failed", index=0, ago=11), pod("b", index=1)]

    again = plan.make(declared, pods, NOW)

    assert again.create == (0,)
    assert again.failures == {0: indexes.Failures(1, 0)}
    assert again.untrack == ()  # it tells how often the index failed until its next pod is there
    assert again.status["failedIndexes"] == ""
    pods.append(pod("a2", "Failed", index=0, before=indexes.Failures(1, 0)))
    lost = plan.make(declared, pods, NOW)
    assert lost.create == ()
    assert lost.status["failedIndexes"] == "0"
    assert reasons(lost) == {}
    pods[1] = pod("b", "Succeeded", index=1)
    last = run(declared, pods)
    assert reasons(last) == {"FailureTarget": "FailedIndexes", "Failed": "FailedIndexes"}
    assert (last.status["failed"], last.status["completedIndexes"]) == (2, "1")


def test_an_index_backs_off_by_itself() -> None:
    declared = indexed(3, backoffLimitPerIndex=5)
    pods = [
        pod("a", "Failed", index=0, ago=5),
        pod("b", "Failed", index=1, ago=11),
        pod("c", "Failed", index=2, before=indexes.Failures(1, 1), ago=11),
    ]

    step = plan.make(declared, pods, NOW)

    assert step.create == (1,)
    assert step.look_again_after == pytest.approx(5.0)
    later = plan.make(declared, pods, NOW + timedelta(seconds=29))
    assert later.create == (0, 1, 2)
    assert later.failures[2] == indexes.Failures(2, 1)


def test_too_many_lost_indexes_end_the_job() -> None:
    declared = indexed(4, backoffLimitPerIndex=0, maxFailedIndexes=1)
    pods = [pod("a", "Failed", index=0), pod("b", "Failed", index=1), pod("c", index=2)]

    step = plan.make(declared, pods, NOW)

    assert reasons(step) == {"FailureTarget": "MaxFailedIndexesExceeded"}
    assert names(step.delete) == ["c"]


def test_a_rule_gives_an_index_up() -> None:
    policy = {"rules": [on_codes("FailIndex"), on_condition("Ignore")]}
    declared = indexed(3, backoffLimitPerIndex=9, podFailurePolicy=policy)
    pods = [
        pod("a", "Failed", index=0, code=42, ago=11),
        pod("b", "Failed", index=1, code=1, ago=11),
        pod("c", "Failed", index=2, conditions=DISRUPTED, ago=11),
    ]

    step = plan.make(declared, pods, NOW)

    assert step.status["failedIndexes"] == "0"
    assert step.create == (1, 2)
    assert step.failures == {1: indexes.Failures(1, 0), 2: indexes.Failures(0, 1)}


# ---- replacement, suspension, deletion, lowered completions


@pytest.mark.parametrize(
    ("policy", "made", "failed"), [("TerminatingOrFailed", 1, ["a"]), ("Failed", 0, [])]
)
def test_when_a_terminating_pod_is_replaced(policy: str, made: int, failed: list[str]) -> None:
    for declared in (job(podReplacementPolicy=policy), indexed(1, podReplacementPolicy=policy)):
        step = plan.make(declared, [pod("a", deleting=True, index=0)], NOW)

        assert len(step.create) == made
        assert step.status["uncountedTerminatedPods"].get("failed", []) == failed
        assert step.status["terminating"] == 1


def test_a_suspended_job_s_pods_do_not_count_as_failures() -> None:
    declared = job(suspend=True, backoffLimit=0)

    last = run(declared, [pod("a"), pod("b")])

    assert "failed" not in last.status
    assert reasons(last) == {"Suspended": "JobSuspended"}


def test_a_deleted_job_frees_its_pods_and_ends_none() -> None:
    declared = job()
    declared["metadata"]["deletionTimestamp"] = format_time(NOW)

    step = plan.make(declared, [pod("a")], NOW)

    assert names(step.untrack) == ["a"]
    assert step.drop == step.delete == step.create == ()


def test_lowered_completions_forget_the_indexes_beyond() -> None:
    declared = indexed(2)
    declared["status"] = {"completedIndexes": "0,3-5", "succeeded": 4}

    step = plan.make(declared, [pod("b", index=1), pod("b2", index=1), pod("g", index=6)], NOW)

    assert step.status["completedIndexes"] == "0"
    assert step.status["succeeded"] == 1
    assert sorted(names(step.drop))[-1] == "g"
    assert len(step.drop) == 2


def test_a_crowd_is_noted_in_parts() -> None:
    declared = job(completions=2000, parallelism=2000)
    pods = [pod(f"p{n}", "Succeeded") for n in range(700)]

    step = plan.make(declared, pods, NOW)

    assert len(step.status["uncountedTerminatedPods"]["succeeded"]) == 500
    assert len(step.create) == 500
    assert run(declared, pods).status["succeeded"] == 700


def test_those_of_a_crowd_that_are_not_noted_yet_count_too() -> None:
    declared = job(completions=700, parallelism=700)
    pods = [pod(f"p{n}", "Succeeded") for n in range(700)]

    assert plan.make(declared, pods, NOW).create == ()
    last = run(declared, pods)
    assert reasons(last)["Complete"] == "CompletionsReached"
    assert last.status["succeeded"] == 700


def test_another_controller_s_job_is_not_ours() -> None:
    assert plan.is_ours(job())
    assert plan.is_ours(job(managedBy=plan.CONTROLLER))
    assert not plan.is_ours(job(managedBy="acme.io/queue"))


def test_a_pod_is_covered_by_its_finalizer_alone() -> None:
    uncovered = pod("a", "Failed")
    uncovered["metadata"]["finalizers"] = []

    assert not pod_tracking.has_tracking_finalizer(uncovered)
    assert plan.make(job(), [uncovered], NOW).status["uncountedTerminatedPods"] == {}


# ---- rules


def checked(**spec: Any) -> list[str]:
    containers = [{"name": "main", "image": "busybox"}]
    pods = {"spec": {"containers": containers, "restartPolicy": spec.pop("restart", "Never")}}
    declared: Object = {
        "metadata": {"name": "j", "namespace": "n", "uid": "j"},
        "spec": {"template": pods, **spec},
    }
    assert JOB.default is not None
    JOB.default(declared)
    return [f"{cause.field}: {cause.message}" for cause in jobrules.check(declared, None)]


def with_rule(rule: Object, **more: Any) -> dict[str, Any]:
    return {"podFailurePolicy": {"rules": [rule]}, **more}


def succeeding(**rule: Any) -> dict[str, Any]:
    return {"completionMode": "Indexed", "completions": 4, "successPolicy": {"rules": [rule]}}


_RULE = "spec.podFailurePolicy.rules[0]"
_SUCCESS = "spec.successPolicy.rules[0]"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, None),
        (with_rule(on_codes("FailJob")), None),
        (with_rule({"action": "Ignore", "onPodConditions": [{"type": "Ready"}]}), None),
        (succeeding(succeededIndexes="0-2", succeededCount=1), None),
        ({"managedBy": "acme.io/queue"}, None),
        (
            with_rule(on_codes("FailJob"), restart="OnFailure"),
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is '
            "supported when podFailurePolicy is specified",
        ),
        (
            {"restart": "Always"},
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            {"backoffLimitPerIndex": 1},
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (
            {"completionMode": "Indexed", "completions": 2, "maxFailedIndexes": 1},
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
        ),
        (
            {"completionMode": "Indexed", "completions": 2, "maxFailedIndexes": 3,
             "backoffLimitPerIndex": 1},
            "spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions",
        ),
        (
            with_rule(on_codes("FailIndex")),
            f'{_RULE}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to '
            "be set",
        ),
        (
            with_rule(on_codes("Retry")),
            f'{_RULE}.action: Unsupported value: "Retry": supported values: "Count", '
            '"FailIndex", "FailJob", "Ignore"',
        ),
        (
            with_rule({"action": "Ignore"}),
            f"{_RULE}: Invalid value: specifying one of OnExitCodes and OnPodConditions is "
            "required",
        ),
        (
            with_rule(on_codes("Ignore", values=(0,))),
            f"{_RULE}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            with_rule(on_codes("Ignore", values=(3, 2))),
            f"{_RULE}.onExitCodes.values: Invalid value: [3,2]: must be ordered",
        ),
        (
            with_rule(on_codes("Ignore", containerName="side")),
            f'{_RULE}.onExitCodes.containerName: Invalid value: "side": must be one of the '
            "container or initContainer names in the pod template",
        ),
        (
            with_rule(on_codes("Ignore"), podReplacementPolicy="TerminatingOrFailed"),
            'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported '
            'values: "Failed"',
        ),
        (
            succeeding(succeededIndexes="0-9"),
            f'{_SUCCESS}.succeededIndexes: Invalid value: "0-9": error parsing '
            'succeededIndexes: too large index: "9"',
        ),
        (
            succeeding(succeededIndexes="2,1"),
            f'{_SUCCESS}.succeededIndexes: Invalid value: "2,1": error parsing '
            "succeededIndexes: non-increasing order, previous: 2, current: 1",
        ),
        (
            succeeding(succeededIndexes="0,1", succeededCount=3),
            f"{_SUCCESS}.succeededCount: Invalid value: 3: must be less than or equal to 2 (the "
            "number of indexes in the specified succeededIndexes field)",
        ),
        (
            {"successPolicy": {"rules": [{"succeededCount": 1}]}},
            'spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires '
            "indexed completion mode",
        ),
        (
            {"managedBy": "queue"},
            'spec.managedBy: Invalid value: "queue": must be a domain-prefixed path (such as '
            '"acme.io/foo")',
        ),
        ({"manualSelector": True}, "spec.selector: Required value"),
    ],
)  # fmt: skip
def test_rules_in_upstream_s_words(spec: dict[str, Any], told: str | None) -> None:
    assert checked(**spec) == ([told] if told else [])

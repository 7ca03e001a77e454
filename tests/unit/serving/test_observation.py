"""How a revision's state is read from its objects, and what the user is told."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bessemer.kinds import meta
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.pod import POD
from bessemer.serving import manifests
from bessemer.serving.errors import Unservable
from bessemer.serving.observation import read_revision
from bessemer.serving.plan import Failure, Plan, Revision
from bessemer.serving.status import StatusFacts, make_status

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
DEPLOYED = meta.new(
    DEPLOYMENT, "m-predictor-00001", "team",
    annotations={manifests.DIGEST: "d", manifests.NUMBER: "1"}, spec={"replicas": 2},
)  # fmt: skip


def pod(**status: Any) -> dict[str, Any]:
    return meta.new(POD, "p", "team", status=status)


def container(**parts: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "kserve-container", **parts}]}


def test_ready_endpoints_count() -> None:
    endpoints = [{"conditions": {"ready": ready}} for ready in (True, False, True)]
    entry = meta.new(ENDPOINT_SLICE, "s", "team", endpoints=endpoints)
    revision = read_revision(DEPLOYED, [entry], [pod(**container(state={"waiting": {}}))])
    assert revision == Revision("m-predictor-00001", 1, "d", replicas=2, ready=2)
    assert revision.is_ready


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            container(state={"terminated": {"exitCode": 1, "message": "no model\n"}}),
            Failure("Error", "no model", 1),
        ),
        (
            container(
                state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            ),
            Failure("OOMKilled", "OOMKilled: the model server ended with exit code 137", 137),
        ),
        (
            container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no image"}}),
            Failure("ImagePullBackOff", "no image"),
        ),
        (container(state={"waiting": {"reason": "ContainerCreating"}}), None),
        (container(state={"running": {}}), None),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "no room",
                    }
                ]
            },
            Failure("Unschedulable", "no room", final=False),
        ),
    ],
)
def test_why_a_revision_does_not_run(status: dict[str, Any], expected: Failure | None) -> None:
    assert read_revision(DEPLOYED, [], [pod(**status)]).failure == expected


def test_pods_that_could_not_be_made_are_told() -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "x"}
    told = {**DEPLOYED, "status": {"conditions": [failed]}}
    assert read_revision(told, [], []).failure == Failure("FailedCreate", "x")
    over = {**DEPLOYED, "status": {"conditions": [{**failed, "status": "False"}]}}
    assert read_revision(over, [], []).failure is None


ISVC = meta.new(INFERENCE_SERVICE, "m", "team", spec={"predictor": {}})


def told(*revisions: Revision, refusal: Unservable | None = None, **parts: Any) -> dict[str, Any]:
    step = Plan((), parts.get("weights", {"r1": 100}), "r1", "", revisions[-1].name)
    facts = StatusFacts(
        plan=step,
        revisions={entry.name: entry for entry in revisions},
        url="http://gateway/serving/team/m",
        routed=parts.get("routed", True),
        refusal=refusal,
    )
    return {**ISVC, "status": make_status(ISVC, facts, NOW)}


def ready(isvc: dict[str, Any]) -> tuple[str, str]:
    condition = meta.condition(isvc, "Ready") or {}
    return condition["status"], condition.get("reason", "")


GOOD = Revision("r1", 1, "d1", ready=1)


def test_status_tells_why() -> None:
    starting = Revision("r2", 2, "d2")
    failed = Revision("r2", 2, "d2", failure=Failure("Error", "no model there", 1))
    waiting = Revision("r2", 2, "d2", failure=Failure("Unschedulable", "no room", final=False))
    assert ready(told(GOOD)) == ("True", "")
    assert ready(told(GOOD, routed=False)) == ("Unknown", "RouteNotProgrammed")
    assert ready(told(GOOD, starting)) == ("Unknown", "Deploying")
    assert ready(told(GOOD, waiting)) == ("Unknown", "Unschedulable")
    assert ready(told(GOOD, failed)) == ("False", "ModelLoadFailed")
    assert ready(told(GOOD, refusal=Unservable("No", "because"))) == ("False", "No")


def test_failed_load_keeps_the_active_model_in_the_status() -> None:
    failed = Revision("r2", 2, "d2", failure=Failure("Error", "no model there", 1))
    status = told(GOOD, failed, weights={"r1": 100, "r2": 0})["status"]
    assert status["url"] == "http://gateway/serving/team/m"
    assert status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "FailedToLoad",
    }
    info = status["modelStatus"]["lastFailureInfo"]
    assert (info["message"], info["exitCode"]) == ("no model there", 1)

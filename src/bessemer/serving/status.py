"""What an InferenceService's user is told. Pure.

Source: kserve pkg/apis/serving/v1beta1/inference_service_status.go; KServeClient reads the
conditions, ``observedGeneration``, ``url``, ``components.predictor`` and ``modelStatus``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from bessemer.base.clock import format_time
from bessemer.kinds import meta
from bessemer.kinds.inferenceservice import STOP
from bessemer.kinds.kind import Object
from bessemer.serving.errors import Unservable
from bessemer.serving.plan import Plan, Revision

NAME_TAKEN = "NameTaken"


@dataclass(frozen=True)
class StatusFacts:
    """Everything that a status is made of."""

    plan: Plan
    revisions: Mapping[str, Revision]
    url: str
    routed: bool  # the gateway says that it follows the routes as they are now
    runtime: str = ""
    refusal: Unservable | None = None
    stopped: bool = False  # by the user
    # What has a name that is needed and is not of this InferenceService: "HTTPRoute iris".
    taken_revision: str = ""
    taken_route: str = ""


@dataclass(frozen=True)
class _Verdict:
    """A condition's status, reason and message."""

    status: str
    reason: str = ""
    message: str = ""

    def to_condition(self, type_: str) -> Object:
        entry = {"type": type_, "status": self.status}
        if self.reason:
            entry["reason"] = self.reason
        if self.message:
            entry["message"] = self.message
        return entry


_TRUE = _Verdict("True")
_STOPPED = _Verdict("False", "Stopped", f"the annotation {STOP} is true; remove it to serve again")


def make_status(isvc: Object, facts: StatusFacts, now: datetime) -> Object:
    """The status of an InferenceService."""
    old: Object = isvc.get("status") or {}
    predictor = _STOPPED if facts.stopped else _judge_predictor(facts)
    ingress = _STOPPED if facts.stopped else _judge_ingress(facts)
    ready = next((verdict for verdict in (predictor, ingress) if verdict is not _TRUE), _TRUE)
    verdicts = {
        "PredictorReady": predictor,
        "LatestDeploymentReady": predictor,
        "IngressReady": ingress,
        "Ready": ready,
        "Stopped": _TRUE if facts.stopped else _Verdict("False"),
    }
    conditions = meta.merge_conditions(
        [entry for entry in old.get("conditions") or () if entry["type"] in verdicts],
        [verdict.to_condition(type_) for type_, verdict in verdicts.items()],
        now,
    )
    status: Object = {
        "observedGeneration": isvc["metadata"].get("generation", 1),
        "deploymentMode": "Standard",
        "conditions": conditions,
    }
    if facts.stopped:
        # The number of the last revision stays, so that no later one gets its name.
        before = meta.dig(old, "components.predictor.latestCreatedRevision")
        if newest := facts.plan.latest or before:
            status["components"] = {"predictor": {"latestCreatedRevision": newest}}
        return status
    status["components"] = {"predictor": _make_component(old, facts)}
    status["modelStatus"] = _make_model_status(old, facts, now)
    if any(facts.plan.weights.values()):
        status["url"] = facts.url
        status["address"] = {"url": facts.url}
    if runtime := facts.runtime or old.get("servingRuntimeName"):
        status["servingRuntimeName"] = runtime
    return status


def _judge_predictor(facts: StatusFacts) -> _Verdict:
    if facts.refusal is not None:
        return _Verdict("False", facts.refusal.reason, str(facts.refusal))
    latest = facts.revisions.get(facts.plan.latest)
    if latest is None:
        making = _Verdict("Unknown", "Deploying", "a revision is being made")
        return _explain_taken(facts.taken_revision) if facts.taken_revision else making
    if latest.is_ready:
        return _TRUE
    if latest.failure is None:
        message = f"revision {latest.name} is starting: {latest.ready} of {latest.replicas} ready"
        if latest.waits_for:
            message += f"; {latest.waits_for}"
        return _Verdict("Unknown", "Deploying", message)
    if not latest.failure.final:
        return _Verdict("Unknown", latest.failure.reason, latest.failure.message)
    return _Verdict("False", _reason(latest), f"revision {latest.name}: {latest.failure.message}")


def _explain_wait(revision: Revision) -> _Verdict:
    """An earlier revision is to take requests again, and must be started for that."""
    failure = revision.failure
    why = failure.message if failure else f"{revision.ready} of {revision.replicas} pods are ready"
    return _Verdict(
        "Unknown", "RevisionNotReady", f"revision {revision.name} is to take requests: {why}"
    )


def _explain_taken(what: str) -> _Verdict:
    # Unknown, not False: what belonged to one of the same name that was deleted goes by itself.
    return _Verdict(
        "Unknown",
        NAME_TAKEN,
        f"{what} exists and is not of this InferenceService; delete it, or choose another name",
    )


def _reason(latest: Revision) -> str:
    assert latest.failure is not None
    return "ModelLoadFailed" if latest.failure.exit_code else latest.failure.reason


def _judge_ingress(facts: StatusFacts) -> _Verdict:
    if not any(facts.plan.weights.values()):
        return _Verdict("Unknown", "NoReadyRevision", "no revision takes requests yet")
    if facts.taken_route:
        return _explain_taken(facts.taken_route)
    # Of the newest one PredictorReady tells.
    if lacking := [name for name in facts.plan.lacking if name != facts.plan.latest]:
        return _explain_wait(facts.revisions[lacking[0]])
    if not facts.routed:
        return _Verdict("Unknown", "RouteNotProgrammed", "the gateway has not yet taken the route")
    return _TRUE


def _make_component(old: Object, facts: StatusFacts) -> Object:
    plan = facts.plan
    before: Object = meta.dig(old, "components.predictor") or {}
    latest = facts.revisions.get(plan.latest)
    component: dict[str, Any] = {
        "latestCreatedRevision": plan.latest or before.get("latestCreatedRevision"),
        "latestReadyRevision": (
            plan.latest if latest and latest.is_ready else before.get("latestReadyRevision")
        ),
        "latestRolledoutRevision": plan.rolled_out,
        "previousRolledoutRevision": plan.previous,
        "traffic": [
            {
                "latestRevision": name == plan.latest,
                "percent": weight,
                "revisionName": name,
                "tag": "latest" if name == plan.latest else "prev",
            }
            for name, weight in sorted(plan.weights.items(), reverse=True)
            if any(plan.weights.values())
        ],
        "url": facts.url,
        "restUrl": facts.url,
    }
    return {key: value for key, value in component.items() if value}


def _make_model_status(old: Object, facts: StatusFacts, now: datetime) -> Object:
    plan = facts.plan
    latest = facts.revisions.get(plan.latest)
    serving = any(
        weight and name in facts.revisions and facts.revisions[name].ready
        for name, weight in plan.weights.items()
    )
    active = "Loaded" if serving else ""
    if facts.refusal is not None:
        info = {"reason": facts.refusal.reason, "message": str(facts.refusal)}
        return _model_status(old, "InvalidSpec", _ModelStates(active, "FailedToLoad"), info, now)
    if latest is not None and latest.failure is not None and latest.failure.final:
        failure = {
            "reason": _reason(latest),
            "message": latest.failure.message,
            "modelRevisionName": latest.name,
            "exitCode": latest.failure.exit_code,
        }
        states = _ModelStates(active or "FailedToLoad", "FailedToLoad")
        return _model_status(old, "BlockedByFailedLoad", states, failure, now)
    if latest is not None and latest.is_ready:
        copies = {"failedCopies": 0, "totalCopies": latest.ready}
        states = _ModelStates(active or "Loaded", "Loaded")
        return {**_model_status(old, "UpToDate", states, None, now), "copies": copies}
    return _model_status(old, "InProgress", _ModelStates(active, "Loading"), None, now)


class _ModelStates(NamedTuple):
    """How far the models are. Source: KServe's ``ModelRevisionStates``."""

    active: str  # of the revision that takes requests; empty: none does
    target: str  # of the newest one


def _model_status(
    old: Object, transition: str, states: _ModelStates, info: Object | None, now: datetime
) -> Object:
    status: Object = {
        "transitionStatus": transition,
        "states": {"activeModelState": states.active, "targetModelState": states.target},
    }
    if info is not None:
        before: Object = meta.dig(old, "modelStatus.lastFailureInfo") or {}
        same = {key: value for key, value in before.items() if key != "time"} == info
        status["lastFailureInfo"] = {
            **info,
            "time": before.get("time") if same else format_time(now),
        }
    return status

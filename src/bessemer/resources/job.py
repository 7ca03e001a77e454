"""Job: pods that run to their end."""

from __future__ import annotations

from bessemer.base.clock import parse_time
from bessemer.resources import columns, meta, rules, template
from bessemer.resources.kind import Cause, Column, Kind, Object

_UID_LABEL = "batch.kubernetes.io/controller-uid"
_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
    "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_UNLIMITED = 2**31 - 1


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", _UNLIMITED if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    by_policy = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", by_policy)
    if not spec.get("manualSelector"):
        _generate_selector(obj, spec)
    template.fill(obj)


def _generate_selector(obj: Object, spec: Object) -> None:
    """Pods are told apart by the job's uid. Source: pkg/registry/batch/job/strategy.go."""
    uid, name = obj["metadata"].get("uid"), obj["metadata"].get("name")
    pods = spec.get("template")
    if not uid or "selector" in spec or not isinstance(pods, dict):
        return
    spec["selector"] = {"matchLabels": {_UID_LABEL: uid}}
    labels = pods.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {
        _UID_LABEL: uid,
        "controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "job-name": name,
    }


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    spec = new["spec"]
    causes = []
    for key in _COUNTS:
        causes += rules.not_negative(f"spec.{key}", spec.get(key))
    modes = ("Indexed", "NonIndexed")
    causes += rules.one_of("spec.completionMode", spec["completionMode"], modes)
    if spec["completionMode"] == "Indexed" and spec.get("completions") is None:
        text = "when completion mode is Indexed"
        causes.append(rules.required("spec.completions", text))
    if not spec.get("manualSelector"):
        causes += _check_selector(new, spec)
    return causes + template.check(new, restart=("Never", "OnFailure"))


def _check_selector(obj: Object, spec: Object) -> list[Cause]:
    uid = obj["metadata"].get("uid")
    wanted = meta.dig(spec, "selector.matchLabels") or {}
    if uid and wanted.get(_UID_LABEL, wanted.get("controller-uid")) != uid:
        text = "`selector` not auto-generated"
        return [rules.bad("spec.selector", spec.get("selector"), text)]
    return []


def _status(obj: Object) -> str:
    for type_, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if (meta.condition(obj, type_) or {}).get("status") == "True":
            return word
    if meta.is_deleting(obj):
        return "Terminating"
    if (meta.condition(obj, "Suspended") or {}).get("status") == "True":
        return "Suspended"
    return "Running"


def _completions(obj: Object) -> str:
    done = meta.dig(obj, "status.succeeded", 0)
    completions = obj["spec"].get("completions")
    if completions is not None:
        return f"{done}/{completions}"
    parallelism = obj["spec"].get("parallelism", 0)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(obj: Object) -> str:
    start, end = meta.dig(obj, "status.startTime"), meta.dig(obj, "status.completionTime")
    if start and end:
        return columns.human(parse_time(end) - parse_time(start))
    return str(start or "")


JOB = Kind(
    "batch",
    "v1",
    "Job",
    "jobs",
    singular="job",
    categories=("all",),
    subresources=frozenset({"status"}),
    schema="batch.v1.Job",
    default=_default,
    validate=_validate,
    fields={"status.successful": "status.succeeded"},
    columns=(
        columns.NAME,
        Column("Status", _status),
        Column("Completions", _completions),
        Column("Duration", _duration, type="date"),
        columns.AGE,
        *columns.TEMPLATE,
    ),
)

"""Job: pods that run to their end."""

from __future__ import annotations

from bessemer.base.clock import parse_time
from bessemer.kinds import columns, jobrules, meta, template
from bessemer.kinds.kind import Column, Kind, Object

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
    spec.setdefault("manualSelector", False)
    for rule in meta.dig(spec, "podFailurePolicy.rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    _label(obj, spec)
    if not spec["manualSelector"]:
        _generate_selector(obj, spec)
        _label(obj, spec)
    template.fill(obj)


def _label(obj: Object, spec: Object) -> None:
    """A Job without labels has its pods'."""
    labels = meta.dig(spec, "template.metadata.labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _generate_selector(obj: Object, spec: Object) -> None:
    """Pods are told apart by the job's uid. Source: pkg/registry/batch/job/strategy.go."""
    uid, name = obj["metadata"].get("uid"), obj["metadata"].get("name")
    pods = spec.get("template")
    if not uid or not isinstance(pods, dict):
        return
    # What the user wrote there stays, and is refused where it names another Job.
    labels = pods.setdefault("metadata", {}).setdefault("labels", {})
    for keys, value in ((jobrules.UID_LABELS, uid), (jobrules.NAME_LABELS, name)):
        for key in keys:
            labels.setdefault(key, value)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(jobrules.UID_LABELS[0], uid)


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
    validate=jobrules.check,
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

"""What a delete does to an object: nothing, a mark, or its end. Pure.

Source: k8s.io/apiserver/pkg/registry/rest/delete.go, generic/registry/store.go,
pkg/registry/core/pod/strategy.go (CheckGracefulDelete).
"""

from __future__ import annotations

from datetime import datetime

from bessemer.base.clock import LATEST, format_time, later, parse_time
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.pod import has_ended
from bessemer.kube.client import DeleteOptions

# A pod's time to end when nothing says otherwise. Source: core/v1 TerminationGracePeriodSeconds.
POD_GRACE_SECONDS = 30


def broken_precondition(obj: Object, options: DeleteOptions) -> str:
    """In upstream's words, which precondition does not hold; empty when all do."""
    found = obj["metadata"]
    if options.uid and options.uid != found["uid"]:
        return (
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({found['uid']}). The object might have been deleted and then recreated"
        )
    if options.resource_version and options.resource_version != found["resourceVersion"]:
        return (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match "
            f"the ResourceVersion in record ({found['resourceVersion']}). The object might have "
            "been modified"
        )
    return ""


def mark(kind: Kind, obj: Object, options: DeleteOptions, now: datetime) -> Object | None:
    """The object as the delete leaves it (the same one if unchanged); None: it is to go now."""
    finalizers = _finalizers(obj, options.propagation)
    grace = _grace_seconds(kind, obj, options)
    if not finalizers and grace == 0 and not holds(kind, obj):
        return None
    metadata = dict(obj["metadata"])
    _set_finalizers(metadata, finalizers)
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = format_time(later(now, grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
    else:
        _shorten(metadata, grace, now)
    if metadata == obj["metadata"]:
        return obj
    marked = {**obj, "metadata": metadata}
    if kind.resource == "namespaces":
        marked["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return marked


def is_over(kind: Kind, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left that holds it."""
    metadata = obj["metadata"]
    return bool(
        metadata.get("deletionTimestamp")
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not holds(kind, obj)
    )


def holds(kind: Kind, obj: Object) -> bool:
    """Whether the spec itself keeps the object: a namespace not yet emptied."""
    return kind.resource == "namespaces" and bool(meta.dig(obj, "spec.finalizers"))


def _finalizers(obj: Object, propagation: str) -> list[str]:
    kept = [
        name
        for name in obj["metadata"].get("finalizers") or ()
        if not propagation or name not in (meta.FOREGROUND, meta.ORPHAN)
    ]
    match propagation:
        case "Foreground":
            return [*kept, meta.FOREGROUND]
        case "Orphan":
            return [*kept, meta.ORPHAN]
        case _:
            return kept


def _set_finalizers(metadata: Object, finalizers: list[str]) -> None:
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _grace_seconds(kind: Kind, obj: Object, options: DeleteOptions) -> int:
    if kind.resource != "pods":
        return 0
    if not meta.dig(obj, "spec.nodeName"):
        return 0
    if has_ended(obj):
        return 0
    metadata = obj["metadata"]
    if options.grace_seconds is not None:
        seconds = options.grace_seconds
    elif metadata.get("deletionTimestamp"):
        seconds = metadata.get("deletionGracePeriodSeconds") or 0
    else:
        own = meta.dig(obj, "spec.terminationGracePeriodSeconds")
        seconds = POD_GRACE_SECONDS if own is None else own
    return int(seconds) if seconds >= 0 else 1


def _shorten(metadata: Object, grace: int, now: datetime) -> None:
    # Only ever sooner: a later delete can't give an object more time.
    before = metadata.get("deletionGracePeriodSeconds") or 0
    if grace < before:
        end = parse_time(metadata["deletionTimestamp"])
        # A moment that lay beyond all dates doesn't tell any more when its time began.
        end = later(now, grace) if end >= LATEST else later(end, grace - before)
        metadata["deletionTimestamp"] = format_time(end)
        metadata["deletionGracePeriodSeconds"] = grace

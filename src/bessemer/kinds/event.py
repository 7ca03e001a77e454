"""Event: what happened to an object, for people."""

from __future__ import annotations

from collections.abc import Callable

from bessemer.kinds import columns, meta, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    about = meta.dig(new, "involvedObject.namespace", "")
    inside = new["metadata"].get("namespace", "")
    if about == inside or (not about and inside == "default"):
        return []
    return [rules.bad("involvedObject.namespace", about, "does not match event.namespace")]


def _first(*paths: str) -> Callable[[Object], object]:
    def read(obj: Object) -> object:
        return next((value for path in paths if (value := meta.dig(obj, path))), None)

    return read


def _object(obj: Object) -> str:
    about = obj["involvedObject"]
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_OBJECT_KEYS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

EVENT = Kind(
    "",
    "v1",
    "Event",
    "events",
    singular="event",
    short_names=("ev",),
    schema="core.v1.Event",
    validate=_validate,
    fields={
        **{f"involvedObject.{key}": f"involvedObject.{key}" for key in _OBJECT_KEYS},
        "reason": "reason",
        "reportingComponent": "reportingComponent",
        "source": "source.component",
        "type": "type",
    },
    columns=(
        Column(
            "Last Seen",
            _first("series.lastObservedTime", "lastTimestamp", "eventTime"),
            type="date",
        ),
        Column("Type", columns.path("type", "")),
        Column("Reason", columns.path("reason", "")),
        Column("Object", _object),
        Column("Subobject", columns.path("involvedObject.fieldPath", ""), priority=1),
        Column("Source", _first("source.component", "reportingComponent"), priority=1),
        Column("Message", lambda obj: str(obj.get("message", "")).strip()),
        Column("First Seen", _first("firstTimestamp", "eventTime"), type="date", priority=1),
        Column("Count", _first("series.count", "count"), priority=1),
        Column("Name", meta.name, priority=1),
    ),
)

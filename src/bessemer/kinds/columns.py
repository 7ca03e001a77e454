"""Cells of ``kubectl get`` that many kinds share. Source: pkg/printers/internalversion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from bessemer.base.clock import parse_time
from bessemer.kinds import meta
from bessemer.kinds.kind import Column, Object

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400
# Below each limit (seconds), an age is told in this unit, and in the smaller one if there is one.
_STEPS: tuple[tuple[int, int, str, tuple[int, str] | None], ...] = (
    (2 * _MINUTE, 1, "s", None),
    (10 * _MINUTE, _MINUTE, "m", (1, "s")),
    (3 * _HOUR, _MINUTE, "m", None),
    (8 * _HOUR, _HOUR, "h", (_MINUTE, "m")),
    (2 * _DAY, _HOUR, "h", None),
    (8 * _DAY, _DAY, "d", (_HOUR, "h")),
    (2 * _YEAR, _DAY, "d", None),
    (8 * _YEAR, _YEAR, "y", (_DAY, "d")),
)


def human(span: timedelta) -> str:
    """``12s``, ``3m4s``, ``5h``, ``2d3h``. Source: k8s.io/apimachinery pkg/util/duration."""
    seconds = max(0, int(span.total_seconds()))
    for limit, unit, name, smaller in _STEPS:
        if seconds < limit:
            text = f"{seconds // unit}{name}"
            if smaller and (rest := seconds % unit // smaller[0]):
                text += f"{rest}{smaller[1]}"
            return text
    return f"{seconds // _YEAR}y"


def age(value: Any, now: datetime) -> str:
    """How long ago the time was; text that is no time stays as it is."""
    if not value:
        return "<unknown>"
    try:
        return human(now - parse_time(str(value)))
    except ValueError:
        return str(value)


def path(dotted: str, default: Any = None) -> Callable[[Object], Any]:
    """Reads the value at a dotted path."""
    return lambda obj: meta.dig(obj, dotted, default)


def count(*names: str) -> Callable[[Object], int]:
    """How many entries the named maps have together."""
    return lambda obj: sum(len(obj.get(name) or ()) for name in names)


def join(values: Iterable[Any]) -> str:
    """``a,b``, or ``<none>``."""
    return ",".join(str(value) for value in values) or "<none>"


def labels(values: Mapping[str, str] | None) -> str:
    """``a=b,c=d``, or ``<none>``."""
    return join(f"{key}={value}" for key, value in sorted((values or {}).items()))


def selector(value: Object | None) -> str:
    """A metav1.LabelSelector as kubectl shows it."""
    if not value:
        return "<none>"
    terms = [f"{key}={text}" for key, text in sorted((value.get("matchLabels") or {}).items())]
    for term in value.get("matchExpressions") or ():
        operator = term["operator"]
        values = ",".join(term.get("values") or ())
        terms.append(
            {
                "Exists": term["key"],
                "DoesNotExist": f"!{term['key']}",
                "In": f"{term['key']} in ({values})",
                "NotIn": f"{term['key']} notin ({values})",
            }[operator]
        )
    return join(terms)


def phase(obj: Object) -> str:
    """The phase of a thing that has a life, or that it is ending."""
    return "Terminating" if meta.is_deleting(obj) else str(meta.dig(obj, "status.phase", ""))


NAME = Column("Name", meta.name, description="Name must be unique within a namespace.")
AGE = Column("Age", path("metadata.creationTimestamp"), type="date")

# What a kind with a pod template shows with -o wide.
TEMPLATE: tuple[Column, ...] = (
    Column(
        "Containers",
        lambda obj: join(c["name"] for c in obj["spec"]["template"]["spec"]["containers"]),
        priority=1,
    ),
    Column(
        "Images",
        lambda obj: join(c["image"] for c in obj["spec"]["template"]["spec"]["containers"]),
        priority=1,
    ),
    Column("Selector", lambda obj: selector(meta.dig(obj, "spec.selector")), priority=1),
)

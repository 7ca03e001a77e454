"""The terms of selectors by label: what they mean, wherever they stand.

In a metav1.LabelSelector, in a node's affinity and, as ``kube.selectors`` reads it, in a query's
text. Source: k8s.io/apimachinery pkg/labels, k8s.io/component-helpers nodeaffinity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

#: A number that labels are compared with: upstream's have 64 bits.
INTEGER = re.compile(r"-?[0-9]{1,19}")


class Requirement(NamedTuple):
    """One term of a selector: what a label (or a field) must be."""

    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist, Gt, Lt
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fulfil the term; NotIn holds where the label is absent."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value)
            case _:
                return False

    def _compares(self, value: str | None) -> bool:
        """Whether it is a number above (Gt) or below (Lt) the bound; what is none, is neither."""
        bound = self.values[0] if self.values else ""
        if value is None or not (INTEGER.fullmatch(value) and INTEGER.fullmatch(bound)):
            return False
        return int(value) > int(bound) if self.operator == "Gt" else int(value) < int(bound)


def matches_labels(requirements: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    """Whether the labels fulfil every term."""
    return all(term.matches(labels) for term in requirements)


def from_object(selector: Mapping[str, Any] | None) -> tuple[Requirement, ...]:
    """The terms of a metav1.LabelSelector (matchLabels and matchExpressions)."""
    selector = selector or {}
    wanted = sorted((selector.get("matchLabels") or {}).items())
    equal = [Requirement(key, "In", (value,)) for key, value in wanted]
    return (*equal, *from_expressions(selector.get("matchExpressions") or ()))


def from_expressions(expressions: Iterable[Mapping[str, Any]]) -> tuple[Requirement, ...]:
    """The terms of a list of ``{key, operator, values}``."""
    return tuple(
        Requirement(entry["key"], entry["operator"], tuple(entry.get("values") or ()))
        for entry in expressions
    )


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a checked metav1.LabelSelector picks an object with these labels; an empty all."""
    return matches_labels(from_object(selector), labels)


def format_labels(requirements: Iterable[Requirement]) -> str:
    """The terms as text that ``parse_labels`` reads."""
    return ",".join(_format(term) for term in requirements)


def _format(term: Requirement) -> str:
    values = ",".join(term.values)
    match term.operator:
        case "In":
            return f"{term.key}={values}" if len(term.values) == 1 else f"{term.key} in ({values})"
        case "NotIn":
            one = len(term.values) == 1
            return f"{term.key}!={values}" if one else f"{term.key} notin ({values})"
        case "Exists":
            return term.key
        case "DoesNotExist":
            return f"!{term.key}"
        case operator:
            return f"{term.key}{'>' if operator == 'Gt' else '<'}{values}"

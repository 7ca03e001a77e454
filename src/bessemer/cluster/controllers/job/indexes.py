"""Completion indexes of Indexed Jobs: ranges as text, and the parts of a pod that carry one. Pure.

Source: k8s.io/kubernetes pkg/controller/job/indexed_job_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bessemer.kinds import meta
from bessemer.kinds.kind import Object

ANNOTATION = "batch.kubernetes.io/job-completion-index"
_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
# generateName's base is cut to this by the API server; the index must survive that.
_BASE_CHARS = 63 - 5


class Failures(NamedTuple):
    """How often an index failed before a pod, as the pod carries it."""

    counted: int = 0
    ignored: int = 0  # by a podFailurePolicy

    @property
    def total(self) -> int:
        """Both: what the back-off grows with."""
        return self.counted + self.ignored


def parse(text: str, completions: int | None = None) -> list[int]:
    """The numbers of ``0-2,5``, below ``completions`` if that is given."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        end = int(last or first) + 1
        numbers.extend(range(int(first), end if completions is None else min(end, completions)))
    return numbers


def format_ranges(numbers: Iterable[int]) -> str:
    """``0-2,5`` of the numbers; as upstream, two neighbours are a list, three a range."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(_range(first, last) for first, last in ranges)


def _range(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def of(pod: Object) -> int | None:
    """The completion index that a pod works on."""
    return _number(pod, ANNOTATION)


def failures(pod: Object) -> Failures:
    """How often the pod's index had failed before it."""
    return Failures(_number(pod, _FAILURES) or 0, _number(pod, _IGNORED) or 0)


def _number(pod: Object, annotation: str) -> int | None:
    text = meta.annotations(pod).get(annotation, "")
    return int(text) if text.isdecimal() else None


def stamp(pod: Object, job_name: str, index: int, before: Failures | None = None) -> None:
    """Give a pod that is about to be made its index, in all places where programs look.

    ``before`` is how often the index failed, where the Job limits that per index.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    ending = f"-{index}-"
    metadata["generateName"] = job_name[: _BASE_CHARS - len(ending)] + ending
    notes = metadata.setdefault("annotations", {})
    notes[ANNOTATION] = str(index)
    if before is not None:
        notes[_FAILURES] = str(before.counted)
        if before.ignored:
            notes[_IGNORED] = str(before.ignored)
    metadata["labels"][ANNOTATION] = str(index)
    spec["hostname"] = f"{job_name}-{index}"
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{ANNOTATION}']"}}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        env = container.setdefault("env", [])
        if all(entry["name"] != variable["name"] for entry in env):
            env.append(dict(variable))

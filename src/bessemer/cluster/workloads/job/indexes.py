"""Completion indexes of Indexed Jobs: ranges as text, and the parts of a pod that carry one. Pure.

Source: k8s.io/kubernetes pkg/controller/job/indexed_job_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.resources import meta
from bessemer.resources.kind import Object

ANNOTATION = "batch.kubernetes.io/job-completion-index"


def parse(text: str) -> list[int]:
    """The numbers of ``0-2,5``."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
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
    """The pod's completion index."""
    text = meta.annotations(pod).get(ANNOTATION, "")
    return int(text) if text.isdigit() else None


def stamp(pod: Object, job_name: str, index: int) -> None:
    """Give a pod that is about to be made its index, in all places where programs look."""
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["generateName"] = f"{job_name}-{index}-"
    metadata.setdefault("annotations", {})[ANNOTATION] = str(index)
    metadata["labels"][ANNOTATION] = str(index)
    spec.setdefault("hostname", f"{job_name}-{index}")
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        env = container.setdefault("env", [])
        if all(entry["name"] != variable["name"] for entry in env):
            env.append(dict(variable))

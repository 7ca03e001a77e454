"""Which environments a pod's containers run in, or may: what ``prune`` must keep. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.cluster.node import images, plan, spec
from bessemer.cluster.node.environments import Wish
from bessemer.cluster.node.errors import StartFailure
from bessemer.resources.kind import Object


def wishes(pod: Object) -> Iterator[Wish]:
    """The environments that a pod, or one of a template, asks for."""
    for container in plan.all_containers(pod):
        try:
            image = images.resolve(str(container.get("image", "")))
            command = spec.command(container, image, {})
        except StartFailure:  # it never gets as far as an environment
            continue
        if image.python is None:
            continue
        yield Wish(image.python, image.installs)
        if command.component:
            yield Wish(image.python, image.installs + command.component.installs)

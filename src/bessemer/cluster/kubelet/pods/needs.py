"""Which environments a pod's containers run in, or may: what ``prune`` must keep. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.images.environments import EnvironmentRequest
from bessemer.cluster.kubelet.images.resolution import Images
from bessemer.cluster.kubelet.pods import plan, spec
from bessemer.kinds.kind import Object
from bessemer.kinds.lightweight import Install


def requests(
    pod: Object, namespaces: Collection[str], images: Images
) -> Iterator[EnvironmentRequest]:
    """The environments that a pod, or one of a template, asks for.

    ``namespaces`` are the uids of those that it may be of: some environments are one's alone.
    """
    for container in plan.all_containers(pod):
        try:
            image = images.resolve(str(container.get("image", "")))
            command = spec.command(container, image, {})
        except StartFailure:  # it never gets as far as an environment
            continue
        if image.python is None:
            continue
        yield from _of_each(image.python, image.installs, namespaces)
        if command.component:
            installs = image.installs + command.component.installs
            yield from _of_each(image.python, installs, namespaces)


def _of_each(
    python: str, installs: tuple[Install, ...], namespaces: Collection[str]
) -> Iterator[EnvironmentRequest]:
    yield from {EnvironmentRequest.of(python, installs, namespace) for namespace in namespaces}

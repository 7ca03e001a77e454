"""From a pod's container to the runtime's ContainerSpec. Pure but for what it is handed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.cluster.kubelet.errors import StartFailure, config_error
from bessemer.cluster.kubelet.images.resolution import Image
from bessemer.cluster.kubelet.pods import addresses
from bessemer.cluster.kubelet.runtime.base import (
    ContainerSpec,
    Limits,
    Mount,
    Network,
    Runtime,
    WarmProgram,
)
from bessemer.cluster.kubelet.volumes import variables
from bessemer.kinds import lightweight, meta, poddefaults, quantity
from bessemer.kinds.kind import Object
from bessemer.kinds.lightweight import LightweightCommand
from bessemer.kinds.namespace import SYSTEM_NAMESPACE

# Where what a pod installs on top of its environment goes; a folder of its own.
PACKAGES = "/tmp/.bessemer-packages"
# Pods that set this annotation to "false" never run in a warm Python.
WARM_ANNOTATION = "bessemer.dev/warm-start"


@dataclass(frozen=True)
class Command:
    """What a container runs."""

    argv: tuple[str, ...]
    component: LightweightCommand | None  # when the KFP compiler wrote it


@dataclass(frozen=True)
class ContainerOptions:
    """What a container runs in."""

    folder: Path
    env: Mapping[str, str]
    environment: Path | None
    mounts: Sequence[Mount]
    hosts: Mapping[str, str]
    private: Path | None = None
    network: Network | None = None


def command(spec: Object, image: Image, env: Mapping[str, str]) -> Command:
    """The command with $(VAR) replaced; the image's own where the container has none.

    Raises:
        StartFailure: neither has one, or with the variables it is more than their limit.
    """
    given, arguments = spec.get("command") or [], spec.get("args") or []
    if not given and not arguments:
        argv = image.entrypoint + image.command
    else:
        argv = tuple(given or image.entrypoint) + tuple(arguments)
    room, words = variables.Room(env), []
    for number, word in enumerate(argv):
        what = f"word {number} of the command"
        words.append(variables.expand(word, env, what, room.left))
        room.take(len(words[-1]) + 1, what)
    argv = tuple(words)
    if not argv:
        raise StartFailure("CreateContainerError", "no command specified")
    return Command(argv, lightweight.parse(argv))


def check_user(pod: Object, spec: Object, uid: int) -> None:
    """Refuse to run as root what must not: containers run as the server's user.

    Raises:
        StartFailure: ``runAsNonRoot`` is true, of the container or else of the pod.
    """
    contexts = (pod["spec"].get("securityContext"), spec.get("securityContext"))
    wanted = {key: value for context in contexts for key, value in (context or {}).items()}
    if wanted.get("runAsNonRoot") and uid == 0:
        raise config_error(
            "container has runAsNonRoot and image will run as root: containers run as the user "
            "who started Bessemer, here root; start it as another one, or remove runAsNonRoot"
        )


def is_platform(pod: Object) -> bool:
    """Whether the pod is one of Bessemer's own that listens at addresses of the machine.

    Who else asks for the host's network gets a pod's: only the admin makes pods in that namespace.
    """
    return meta.namespace(pod) == SYSTEM_NAMESPACE and bool(pod["spec"].get("hostNetwork"))


def limits(spec: Object) -> Limits:
    """What a container may use."""
    given = (spec.get("resources") or {}).get("limits") or {}
    return Limits(
        memory=quantity.whole(given["memory"]) if "memory" in given else None,
        cpu=float(quantity.parse(given["cpu"])) if "cpu" in given else None,
    )


def unheld(specs: Iterable[Object], runtime: Runtime) -> str:
    """Which limits of a pod's containers this machine does not hold, and why."""
    told = dict.fromkeys(text for spec in specs for text in runtime.unheld(limits(spec)))
    return "; ".join(told)


def build(pod: Object, spec: Object, command: Command, setting: ContainerOptions) -> ContainerSpec:
    """The runtime's order.

    Raises:
        StartFailure: the kernel takes no such command or variable.
    """
    _refuse_nul(command, spec.get("workingDir") or "", setting)
    component = command.component
    annotations = pod["metadata"].get("annotations") or {}
    warm = None
    if component and setting.environment and annotations.get(WARM_ANNOTATION) != "false":
        warm = WarmProgram(component.source, component.arguments)
    return ContainerSpec(
        folder=setting.folder,
        argv=command.argv,
        env=setting.env,
        working_dir=spec.get("workingDir") or "",
        environment=setting.environment,
        mounts=tuple(setting.mounts),
        hosts=setting.hosts,
        namespace=pod["metadata"].get("namespace") or "",
        private=setting.private,
        network=setting.network,
        hostname=addresses.hostname(pod),
        limits=limits(spec),
        warm=warm,
        read_only=bool((spec.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        termination_path=spec.get("terminationMessagePath") or poddefaults.TERMINATION_LOG,
    )


def _refuse_nul(command: Command, working_dir: str, setting: ContainerOptions) -> None:
    """Texts of JSON, and Secrets even more, may have a byte in them that ends a string in C."""
    given = {
        **{f"argument {number} of its command": word for number, word in enumerate(command.argv)},
        **{f"its variable {name}": value for name, value in setting.env.items()},
        "its workingDir": working_dir,
        **{f"its mount {mount.target!r}": mount.target + mount.below for mount in setting.mounts},
    }
    if found := [what for what, text in given.items() if "\0" in text]:
        raise StartFailure(
            "CreateContainerError",
            f"no text that a program is started with can have a NUL byte, but {found[0]} has one; "
            "mount such bytes as a file",
        )

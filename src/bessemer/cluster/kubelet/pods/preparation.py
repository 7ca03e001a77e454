"""From a pod to what its containers run in: objects, tokens, volumes, images, environments."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bessemer.base.clock import later
from bessemer.cluster.kubelet.errors import BuildFailure, PodInstalls, StartFailure, mount_error
from bessemer.cluster.kubelet.images import programs
from bessemer.cluster.kubelet.images.environments import EnvironmentRequest
from bessemer.cluster.kubelet.images.resolution import Image
from bessemer.cluster.kubelet.pods import addresses, clientconfig, spec
from bessemer.cluster.kubelet.pods.dependencies import KubeletDependencies
from bessemer.cluster.kubelet.runtime import rotation
from bessemer.cluster.kubelet.runtime.base import ContainerSpec, Mount, Network
from bessemer.cluster.kubelet.volumes import payloads, variables
from bessemer.cluster.kubelet.volumes.payloads import Sources
from bessemer.cluster.kubelet.volumes.podvolumes import Volumes
from bessemer.cluster.kubelet.volumes.variables import NodeFacts, Referred
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Object
from bessemer.kinds.lightweight import Install
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.secret import SECRET
from bessemer.kinds.service import SERVICE
from bessemer.kinds.serviceaccount import TOKEN_VOLUME_PREFIX
from bessemer.kube.errors import ApiError, NotFound

#: Is told, in words for the pod's user, what a container's start waits for.
Progress = Callable[[str], None]

_KINDS = {"ConfigMap": CONFIG_MAP, "Secret": SECRET}
_FIELDS = ("data", "binaryData")
_FEW_FILES = 100
# As kubelet: a token is renewed when this much of its life is over.
_TOKEN_LIFE = 0.8


@dataclass(frozen=True)
class _Token:
    text: str
    renew_at: datetime


class Preparation:
    """Prepares the containers of one pod."""

    def __init__(self, services: KubeletDependencies, folder: Path, address: str) -> None:
        self._services = services
        self._folder = folder
        self._address = address
        claims = services.informers.of(PERSISTENT_VOLUME_CLAIM)
        self._memory = services.memory / folder.name if services.memory else None
        self._volumes = Volumes(folder / "volumes", services.home, claims.get, self._memory)
        self._tokens: dict[str, _Token] = {}
        self._told: set[str] = set()

    @property
    def refresh_at(self) -> datetime | None:
        """When a token must be renewed."""
        return min((token.renew_at for token in self._tokens.values()), default=None)

    async def refresh(self, pod: Object) -> Referred:
        """Write the pod's volumes from the objects as they are now.

        Raises:
            StartFailure: something that they refer to is not there.
        """
        referred = await self._fetch(pod)
        tokens = self._renew(pod)
        sources = Sources(pod, self._facts(), referred, tokens)
        if _is_large(pod, referred):
            await asyncio.to_thread(self._volumes.prepare, sources)
        else:
            self._volumes.prepare(sources)
        return referred

    def remove_volumes(self) -> None:
        """Delete the pod's own volumes; renew no more."""
        self._tokens.clear()
        self._services.threads.leave(self._folder.name)
        self._volumes.remove()

    async def container(
        self, pod: Object, container: Object, folder: Path, progress: Progress
    ) -> ContainerSpec:
        """Everything for one attempt, ready to start; ``progress`` is told what takes its time.

        Raises:
            StartFailure: it can't be started now.
        """
        spec.check_user(pod, container, os.getuid())
        referred = await self.refresh(pod)
        config = self._services.config
        image = config.images.resolve(container.get("image", ""))
        links = pod["spec"].get("enableServiceLinks", True)
        base = variables.service_links(self._services_of(pod) if links else ()) | {
            "HOSTNAME": addresses.hostname(pod),
            "KUBERNETES_SERVICE_HOST": config.api_host,
            "KUBERNETES_SERVICE_PORT": str(config.api_port),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(config.api_port),
        }
        if image.is_own or image.python is not None:
            base |= self._services.threads.variables(self._folder.name, container)
        env = variables.resolve(pod, container, self._facts(), referred, base)
        mounts = list(self._mounts(pod, container, env))
        if self._services.runtime.name == "process":
            env = {**self._client_config(pod, container), **env}
        command = spec.command(container, image, env)
        environment, command = await self._environment(pod, container, image, command, progress)
        if text := config.images.stand_in(container["image"]):
            self._tell_once(pod, "Warning", "ImageStandIn", text)
        if image.packages:
            env, mount = programs.on_path(self._services.home, env, image.packages)
            mounts.append(mount)
        if environment and not image.is_own:
            env = {"BESSEMER_PACKAGES": spec.PACKAGES, **env}
            if command.component is None:
                environments = self._services.environments
                uv = environments.uv
                env = {**environments.index_variables(), "BESSEMER_UV": str(uv), **env}
                mounts.append(Mount(uv, str(uv)))
        return spec.build(
            pod,
            container,
            command,
            spec.ContainerOptions(
                folder, env, environment, mounts,
                addresses.hosts(pod, self._address, self._services_of(pod)),
                self._private(folder),
                self.network(pod),
            ),
        )  # fmt: skip

    def network(self, pod: Object) -> Network | None:
        """What the pod has of the network; None: it is on the machine's."""
        config = self._services.config
        if spec.is_platform(pod) or config.unguarded or config.unisolated:
            return None
        return addresses.network(self._address, config.platform_ports)

    def _private(self, attempt: Path) -> Path | None:
        """A place in memory for an attempt; no volume's name begins with a dot."""
        return self._memory and self._memory / f".{attempt.parent.name}.{attempt.name}"

    async def _environment(
        self,
        pod: Object,
        container: Object,
        image: Image,
        command: spec.Command,
        progress: Progress,
    ) -> tuple[Path | None, spec.Command]:
        """The environment, and the command as it is to be started there."""
        if image.is_own:
            return programs.own_environment(), command
        if image.python is None:
            return None, command
        installs = command.component.installs if command.component else ()
        try:
            return await self._ensure(pod, container, image, installs, progress), command
        except PodInstalls as reason:
            # As written: its own pip then runs in its sandbox, each time anew.
            told = f"the container installs its packages itself at each start: {reason}"
            self._tell_once(pod, "Normal", "InstallsItself", told)
            plain = dataclasses.replace(command, component=None)
            return await self._ensure(pod, container, image, (), progress), plain

    async def _ensure(
        self,
        pod: Object,
        container: Object,
        image: Image,
        installs: tuple[Install, ...],
        progress: Progress,
    ) -> Path:
        namespace = self._services.informers.of(NAMESPACE).get(meta.namespace(pod))
        owner = meta.uid(namespace) if namespace else meta.namespace(pod)
        request = EnvironmentRequest.of(image.python or "", image.installs + installs, owner)
        environments = self._services.environments
        found = environments.find(request)
        if found is None:

            async def tell(type_: str, reason: str, message: str) -> None:
                self._services.events.tell(pod, type_, reason, message)
                progress(message if reason == "Pulling" else "")

            try:
                found = await environments.ensure(request, tell)
            except BuildFailure as error:
                if installs and isinstance(error, PodInstalls):
                    raise
                text = f'Failed to pull image "{container["image"]}": {error}'
                raise StartFailure("ErrImagePull", text) from error
        if found.note:
            self._tell_once(pod, "Warning", "NearestPython", found.note)
        return found.path

    def _mounts(self, pod: Object, container: Object, env: dict[str, str]) -> tuple[Mount, ...]:
        if self._services.runtime.name == "process":
            # It has no mounts elsewhere; a kubeconfig must do (``_client_config``).
            kept = [
                each
                for each in container.get("volumeMounts") or ()
                if not each["name"].startswith(TOKEN_VOLUME_PREFIX)
            ]
            container = {**container, "volumeMounts": kept}
        return self._volumes.mounts(pod, container, env)

    def _client_config(self, pod: Object, container: Object) -> dict[str, str]:
        """Where a container without mounts finds what those of its service account would hold."""
        mounts = container.get("volumeMounts") or ()
        names = {each["name"] for each in mounts if each["name"].startswith(TOKEN_VOLUME_PREFIX)}
        volumes = [each for each in pod["spec"].get("volumes") or () if each["name"] in names]
        if not volumes:
            return {}
        config = self._services.config
        server = f"https://{config.api_host}:{config.api_port}"
        path = self._folder / "kubeconfig"
        access = self._volumes.place(volumes[0])
        path.write_text(clientconfig.make(server, meta.namespace(pod), access))
        return {clientconfig.VARIABLE: str(path)}

    def _tell_once(self, pod: Object, type_: str, reason: str, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._services.events.tell(pod, type_, reason, message)

    def _facts(self) -> NodeFacts:
        config = self._services.config
        return NodeFacts(config.name, config.host_ip, self._address, self._services.allocatable)

    async def _fetch(self, pod: Object) -> Referred:
        found: dict[tuple[str, str], Object | None] = {}
        for kind, name in variables.references(pod):
            try:
                found[kind, name] = await self._services.client.get(
                    _KINDS[kind], name, meta.namespace(pod)
                )
            except NotFound:
                found[kind, name] = None
        return found

    def _renew(self, pod: Object) -> dict[str, str]:
        now = self._services.clock.now()
        for source in payloads.token_sources(pod):
            key = payloads.token_key(source)
            token = self._tokens.get(key)
            if token is None or token.renew_at <= now:
                seconds = int(source.get("expirationSeconds") or 3600)
                text = self._issue(pod, seconds)
                self._tokens[key] = _Token(text, later(now, seconds * _TOKEN_LIFE))
        return {key: token.text for key, token in self._tokens.items()}

    def _issue(self, pod: Object, seconds: int) -> str:
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            return self._services.issue_token(
                meta.namespace(pod),
                account,
                pod_name=meta.name(pod),
                pod_uid=meta.uid(pod),
                seconds=seconds,
            )
        except ApiError as error:
            raise mount_error("token", str(error)) from error

    def _services_of(self, pod: Object) -> list[Object]:
        return self._services.informers.of(SERVICE).list(meta.namespace(pod))


def _is_large(pod: Object, referred: Referred) -> bool:
    """Whether its volumes may have so many files that writing them would hold up all else."""
    keys = sum(len(obj.get(field) or ()) for obj in referred.values() if obj for field in _FIELDS)
    volumes = sum(
        1 + len((volume.get("projected") or {}).get("sources") or ())
        for volume in pod["spec"].get("volumes") or ()
    )
    return keys + volumes > _FEW_FILES


def fallback_message(folder: Path, lines: int = 80, most: int = 2048) -> str:
    """The end of a log, as the termination message of a container that failed without one."""
    text = rotation.last_bytes(folder, most).decode(errors="replace")
    return "".join(text.splitlines(keepends=True)[-lines:])

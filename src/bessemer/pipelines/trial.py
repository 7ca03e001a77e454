"""A run is tried before it is taken: what can't run is refused at once, not after its first steps.

What a step asks for is judged where pods are admitted, by a dry run of a pod that has all of the
step that is known beforehand; so this asks the cluster, whichever it is. Where images, URIs and
names come from other steps, they are judged when these have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.artifacts.store import ArtifactStore
from bessemer.kinds import meta
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.client import Client
from bessemer.kube.errors import AlreadyExists, ApiError, NotFound
from bessemer.pipelines import claims, importer, outputs, placeholders, platform, pods
from bessemer.pipelines.records import Run
from bessemer.pipelines.spec import Spec
from bessemer.pipelines.spec.imports import find_uris
from bessemer.pipelines.spec.model import (
    Claim,
    Component,
    Constant,
    Container,
    Dag,
    DagInput,
    ParameterInput,
)
from bessemer.web import errors

#: Why an image can't be run here; "" if it can.
RefuseImage = Callable[[str], str]


@dataclass(frozen=True)
class Trial:
    """What the cluster says of a run before it begins."""

    client: Client
    artifacts: ArtifactStore
    refuse_image: RefuseImage

    async def has_namespace(self, name: str) -> bool:
        """Whether there is such a namespace."""
        try:
            await self.client.get(NAMESPACE, name)
        except NotFound:
            return False
        return True

    async def check(self, run: Run, spec: Spec, arguments: Mapping[str, Any]) -> None:
        """Let a run pass; ``arguments`` are with defaults.

        Raises:
            InvalidArgument: a part of it can't run; the text says which, and why.
        """
        try:
            outputs.run_root(run, spec, self.artifacts)
            for name, uri in find_uris(spec, arguments):
                importer.place(uri, name, run.namespace, self.artifacts)
        except (outputs.InvalidRoot, importer.InvalidImport) as error:
            raise errors.InvalidArgument(str(error)) from None
        if not run.service_account:
            await ensure_account(self.client, run.namespace)
        for name, given in _known_claims(spec, arguments):
            await self._try_claim(name, given, run.namespace)
        await self._try_steps(run, spec)

    async def _try_claim(self, name: str, given: Mapping[str, Any], namespace: str) -> None:
        try:
            claim = claims.make(given, name, namespace)
            # Whether there is one of that name is asked when it is made.
            with contextlib.suppress(AlreadyExists):
                await self.client.create(PERSISTENT_VOLUME_CLAIM, claim, dry_run=True)
        except (claims.InvalidClaim, ApiError) as error:
            raise errors.InvalidArgument(f"task {name!r} can't run: {error}") from None

    async def _try_steps(self, run: Run, spec: Spec) -> None:
        tried = set()
        for name, component in _steps(spec):
            pod = self._make(name, component, spec, run)
            text = json.dumps(pod, sort_keys=True)
            if text in tried:
                continue
            tried.add(text)
            pod["metadata"]["name"] = f"trial-{run.id}"
            await asyncio.sleep(0)  # a pipeline may have thousands; others want their turn
            try:
                await self.client.create(POD, pod, dry_run=True)
            except ApiError as error:
                raise errors.InvalidArgument(f"task {name!r} can't run: {error}") from None

    def _make(self, name: str, component: Component, spec: Spec, run: Run) -> Any:
        body = component.body
        assert isinstance(body, Container), "only containers have pods"
        if not placeholders.has_any(body.image) and (why := self.refuse_image(body.image)):
            raise errors.InvalidArgument(f"task {name!r} can't run: {why}")
        try:
            settings = platform.resolve(spec.kubernetes.get(component.executor, {}), _known)
            return pods.build_trial(body, settings, run)
        except platform.InvalidSetting as error:
            raise errors.InvalidArgument(f"task {name!r} can't run: {error}") from None


def _known(item: ParameterInput) -> Any:
    """A constant's value; null, as if it were not asked for, where the run must tell."""
    if isinstance(item.source, Constant) and not placeholders.has_any(item.source.value):
        return item.source.value
    return None


def _known_claims(
    spec: Spec, arguments: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The inputs of each CreatePVC of which all are known beforehand."""
    for dag in (spec.root, *spec.components.values()):
        for task in dag.body.tasks.values() if isinstance(dag.body, Dag) else ():
            if spec.components[task.component].body is not Claim.CREATE:
                continue
            given = {}
            for key, item in task.parameters.items():
                source = item.source
                if isinstance(source, DagInput) and dag is spec.root:
                    given[key] = arguments.get(source.name)
                elif (value := _known(item)) is not None:
                    given[key] = value
            if given.keys() == task.parameters.keys():
                yield task.name, given


def _steps(spec: Spec) -> Iterator[tuple[str, Component]]:
    """The containers that the root reaches, each with the name of a task that is one."""
    pending, seen = [spec.root], {spec.root.name}
    while pending:
        body = pending.pop().body
        for task in body.tasks.values() if isinstance(body, Dag) else ():
            component = spec.components[task.component]
            if component.name in seen:
                continue
            seen.add(component.name)
            if isinstance(component.body, Container):
                yield task.name, component
            pending.append(component)


async def ensure_account(client: Client, namespace: str) -> None:
    """Have the account that steps run as, where a run names none; it has no rights of its own.

    Raises:
        NotFound: there is no such namespace.
    """
    try:
        await client.get(SERVICE_ACCOUNT, pods.SERVICE_ACCOUNT, namespace)
    except NotFound:
        account = meta.new(SERVICE_ACCOUNT, pods.SERVICE_ACCOUNT, namespace)
        with contextlib.suppress(AlreadyExists):
            await client.create(SERVICE_ACCOUNT, account)

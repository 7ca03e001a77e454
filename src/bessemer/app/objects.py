"""The stored objects of a home that no control plane runs on, for ``bessemer prune``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from bessemer.app.embedded import open_store
from bessemer.app.images import IMAGES
from bessemer.base.clock import SystemClock
from bessemer.base.home import Home
from bessemer.cluster.kubelet.images.environments import Environments
from bessemer.cluster.kubelet.pods import needs
from bessemer.cluster.store.store import Store
from bessemer.database.database import Database
from bessemer.kinds import meta
from bessemer.kinds.catalog import TEMPLATED
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.pod import POD, has_ended
from bessemer.pipelines.history import SqlHistory


@dataclass
class Known:
    """What the objects of a home say about its pods and environments."""

    ended: set[str] = field(default_factory=set)  # uids of pods
    live: set[str] = field(default_factory=set)
    environments: set[Path] = field(default_factory=set)  # that something live asks for


def read(home: Home) -> Known:
    """What is in use, and what is over.

    Raises:
        BessemerError: the objects can't be read.
    """
    return asyncio.run(_read(home))


async def _read(home: Home) -> Known:
    known, pods, namespaces = Known(), list[Object](), list[str]()
    if home.objects.exists():
        store = open_store(home)
        try:
            for record in store.list(POD.resource):
                over = has_ended(record.object)
                (known.ended if over else known.live).add(meta.uid(record.object))
                if not over:
                    pods.append(record.object)
            pods += _templates(store)
            namespaces = [meta.uid(each.object) for each in store.list(NAMESPACE.resource)]
        finally:
            await store.close()
    if home.history.exists():
        pods += await _steps(home)
    environments = Environments(home, SystemClock())
    for request in {
        request for pod in pods for request in needs.requests(pod, namespaces, IMAGES)
    }:
        known.environments.add(await environments.locate(request))
    return known


def _templates(store: Store) -> Iterator[Object]:
    """The pods that controllers may make again: of all but Jobs that are over."""
    for kind in TEMPLATED:
        for record in store.list(kind.resource):
            finished = {
                each.get("type")
                for each in meta.dig(record.object, "status.conditions") or ()
                if kind is JOB and each.get("status") == "True"
            }
            template = meta.dig(record.object, "spec.template")
            if template and not finished & {"Complete", "Failed"}:
                yield template


async def _steps(home: Home) -> list[Object]:
    """The pods that unfinished runs may still make."""
    database = Database(URL.create("sqlite", database=str(home.history)))
    await database.start()
    try:
        history = SqlHistory(database)
        found: list[Object] = []
        for run in await history.list_unfinished():
            loaded = await history.load_run(run.id)
            if loaded is not None:
                found += map(_pod, _containers(loaded[0].spec))
        return found
    finally:
        await database.close()


def _containers(ir: Mapping[str, Any]) -> Iterator[Object]:
    executors = (ir.get("deploymentSpec") or {}).get("executors") or {}
    for executor in executors.values():
        if container := executor.get("container"):
            yield container


def _pod(container: Object) -> Object:
    return {"spec": {"containers": [{"name": "main", **container}]}}

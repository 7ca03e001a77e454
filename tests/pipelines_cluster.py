"""The pipeline engine over a real cluster: history in SQLite, pods by the node agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bessemer.base import ids
from bessemer.base.clock import SystemClock
from bessemer.cluster.kubelet.logs.port import LogOptions
from bessemer.database.database import Database
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.errors import AlreadyExists
from bessemer.pipelines import pods
from bessemer.pipelines.engine import Engine
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.reconciler import EngineOptions
from bessemer.pipelines.records import Run, RunState, Task
from bessemer.pipelines.spec import load
from bessemer.pipelines.steplogs import PodStepLogs
from node_cluster import Cluster

NAMESPACE = "kubeflow"
ENDED = (RunState.SUCCEEDED, RunState.FAILED)


@dataclass
class Pipelines:
    """What a test acts on."""

    cluster: Cluster
    history: SqlHistory
    engine: Engine

    async def submit(self, document: Any, parameters: dict[str, Any] | None = None) -> str:
        """Store a run and wake the engine; the run's id."""
        spec = load(document)
        run = Run(
            id=ids.make_uid(),
            namespace=NAMESPACE,
            display_name=spec.name,
            spec=spec.document,
            platform_spec=spec.platform_document,
            parameters=parameters or {},
            state=RunState.PENDING,
            created_at=SystemClock().now(),
        )
        await self.history.create_run(run)
        self.engine.wake(run.id)
        return run.id

    async def ended(self, run_id: str, seconds: float = 60.0) -> Run:
        """The run once it ended."""
        loaded = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    loaded = await self.history.load_run(run_id)
                    assert loaded is not None
                    if loaded[0].state in ENDED:
                        return loaded[0]
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"run {run_id} never ended: {loaded and loaded[1]}") from None

    async def run(
        self, document: Any, parameters: dict[str, Any] | None = None, seconds: float = 60.0
    ) -> Run:
        return await self.ended(await self.submit(document, parameters), seconds)

    async def tasks(self, run_id: str) -> dict[str, Task]:
        """The run's tasks by name; iterations as name/0."""
        loaded = await self.history.load_run(run_id)
        assert loaded is not None
        return {
            task.name if task.iteration < 0 else f"{task.name}/{task.iteration}": task
            for task in loaded[1]
        }

    async def pods(self, run_id: str) -> list[Object]:
        informer = self.cluster.informers.of(POD)
        return [p for p in informer.list() if meta.labels(p).get(pods.RUN_LABEL) == run_id]


@asynccontextmanager
async def open_pipelines(cluster: Cluster, **settings: Any) -> AsyncIterator[Pipelines]:
    """Begin the engine; at the end it stops as if killed (its rows and pods stay)."""
    home, clock = cluster.home, SystemClock()
    try:
        await cluster.namespace(NAMESPACE)
        await cluster.client.create(
            SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, pods.SERVICE_ACCOUNT, NAMESPACE)
        )
    except AlreadyExists:
        pass
    database = Database(f"sqlite:///{home.history}")
    await database.start()
    history = SqlHistory(database)

    def read_pod(pod: Object, follow: bool, tail: int | None) -> AsyncIterator[bytes]:  # noqa: FBT001 - the port's shape
        return cluster.logs.read(pod, LogOptions(follow=follow, tail_lines=tail))

    engine = Engine(
        cluster.client,
        cluster.informers,
        history,
        PodStepLogs(cluster.client, read_pod, home.root / "logs"),
        clock,
        EngineOptions(claim_root=lambda namespace: home.claim(namespace, pods.CLAIM), **settings),
    )
    task = asyncio.create_task(engine.run())
    try:
        yield Pipelines(cluster, history, engine)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()

"""Several engines on one database: each run is driven by one, whichever of them dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.claim import ClaimStore
from bessemer.artifacts.logs import DiskLogs
from bessemer.base import ids
from bessemer.base.clock import SystemClock
from bessemer.database.database import Database
from bessemer.kinds import meta
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.pipelines import pods
from bessemer.pipelines.engine import Engine
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.leases import Replica
from bessemer.pipelines.reconciler import EngineOptions
from bessemer.pipelines.records import FINAL, Lease, Run, RunState, Task
from bessemer.pipelines.run_catalog import RunCatalog
from bessemer.pipelines.spec import load
from bessemer.pipelines.steplogs import PodStepLogs
from node_cluster import Cluster, open_cluster
from pipelines_ir import pipeline, step, task

NAMESPACE = "kubeflow"
OUTPUT = "{{$.outputs.parameters['Output'].output_file}}"
# What a step does is counted beside its outputs.
COUNTED = 'echo ran >> "$(dirname "$1")/count"; sleep 0.1; printf x > "$1"'
# What both databases promise is held by the contract tests; one of these is enough for the other.
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
QUICK = 10.0  # times as fast as real time, so that a lease ends within 1.5 s


class QuickClock:
    """Time that goes by quickly."""

    def now(self) -> datetime:
        return SystemClock().now()

    def monotonic(self) -> float:
        return SystemClock().monotonic() * QUICK

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0) / QUICK)


@dataclass
class World:
    """A cluster, and a database that everybody opens for themselves."""

    cluster: Cluster
    url: str
    history: SqlHistory

    async def submit(self, document: Any, owner: str = "") -> str:
        """Store a run, and tell nobody."""
        spec = load(document)
        run = Run(
            id=ids.make_uid(),
            namespace=NAMESPACE,
            display_name=spec.name,
            spec=spec.document,
            platform_spec={},
            parameters={},
            state=RunState.PENDING,
            created_at=SystemClock().now(),
            lease=Lease(owner),
        )
        await RunCatalog(self.history).create_run(run)
        return run.id

    async def until(self, run_id: str, holds: Any) -> tuple[Run, list[Task]]:
        """The run and its rows once that holds."""
        async with asyncio.timeout(60):
            while True:
                loaded = await self.history.load_run(run_id)
                assert loaded is not None
                if holds(*loaded[:2]):
                    return loaded[:2]
                await asyncio.sleep(0.01)  # SQL tells nobody

    async def ended(self, run_id: str) -> tuple[Run, list[Task]]:
        return await self.until(run_id, lambda run, _: run.state in FINAL)


@dataclass
class Replicated:
    """One engine, and how to end it."""

    engine: asyncio.Task[None]
    database: Database

    async def kill(self) -> None:
        """End it so that it can write nothing more, not even that it lets go."""
        await self.database.close()
        await self.stop()

    async def stop(self) -> None:
        self.engine.cancel()
        await asyncio.gather(self.engine, return_exceptions=True)
        await self.database.close()


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    async with open_cluster(tmp_path / "home") as cluster:
        await cluster.namespace(NAMESPACE)
        account = meta.new(SERVICE_ACCOUNT, pods.SERVICE_ACCOUNT, NAMESPACE)
        await cluster.client.create(SERVICE_ACCOUNT, account)
        database = Database(database_url)
        await database.start()
        yield World(cluster, database_url, SqlHistory(database))
        await database.close()


@asynccontextmanager
async def replica(world: World, id_: str) -> AsyncIterator[Replicated]:
    cluster, home, clock = world.cluster, world.cluster.home, QuickClock()
    database = Database(world.url)
    await database.start()

    engine = Engine(
        cluster.client,
        cluster.informers,
        SqlHistory(database),
        PodStepLogs(cluster.client, DiskLogs(home.root / "logs")),
        clock,
        EngineOptions(
            ClaimStore(cluster.client, clock, home.volumes),
            stuck_seconds=20 * QUICK,
            replica=Replica(id_),
        ),
    )
    opened = Replicated(asyncio.create_task(engine.run()), database)
    try:
        yield opened
    finally:
        await opened.stop()


def chain(length: int) -> Any:
    components = {"a": step({}, {"Output": "STRING"}, executor="e")}
    tasks = {f"t{n}": task("a", after=[f"t{n - 1}"] if n else []) for n in range(length)}
    container = {"image": "busybox", "command": ["sh", "-c", COUNTED, "sh", OUTPUT]}
    return pipeline(tasks, components, executors={"e": {"container": container}})


def counts(rows: list[Task]) -> list[str]:
    return [(Path(row.task_root) / "count").read_text() for row in rows if row.task_root]


@SQLITE
async def test_a_run_that_nobody_told_of_is_driven_by_one_of_the_replicas(world: World) -> None:
    async with replica(world, "a"), replica(world, "b"):
        run_ids = [await world.submit(chain(2)) for _ in range(4)]
        ended = [await world.ended(run_id) for run_id in run_ids]

    for run, rows in ended:
        assert (run.state, counts(rows)) == (RunState.SUCCEEDED, ["ran\n"] * 2), run.error
        assert run.lease.owner in ("a", "b")
        assert run.lease.generation == 1


@SQLITE
@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
async def test_what_a_replica_leaves_another_one_finishes_and_no_step_runs_twice(
    world: World,
    is_killed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with replica(world, "a") as first, replica(world, "b"):
        run_id = await world.submit(chain(6), "a")
        await world.until(run_id, lambda _, rows: len(rows) > 3)
        await (first.kill() if is_killed else first.stop())
        left = await world.history.load_run(run_id)
        run, rows = await world.ended(run_id)

    assert left is not None
    assert left[0].lease.owner in (("a", "b") if is_killed else ("", "b"))
    assert run.state is RunState.SUCCEEDED, run.error
    assert run.lease.owner == "b"
    assert counts(rows) == ["ran\n"] * 6
    assert {row.id for row in left[1]} <= {row.id for row in rows}


async def test_replicas_that_come_and_go_lose_no_run_and_repeat_no_step(world: World) -> None:
    async with replica(world, "b"):
        run_ids = []
        for number in range(3):
            async with replica(world, f"a{number}") as other:
                run_ids += [await world.submit(chain(3), owner) for owner in ("", f"a{number}")]
                await world.until(run_ids[-1], lambda _, rows: len(rows) > 1)
                await (other.kill() if number % 2 else other.stop())
        ended = [await world.ended(run_id) for run_id in run_ids]

    for run, rows in ended:
        assert (run.state, counts(rows)) == (RunState.SUCCEEDED, ["ran\n"] * 3), run.error


@SQLITE
async def test_what_is_asked_of_another_replica_is_done_by_the_owner(world: World) -> None:
    sleeping = {"container": {"image": "busybox", "command": ["sleep", "300"]}}
    document = pipeline(
        {"nap": task("nap")}, {"nap": step(executor="n")}, executors={"n": sleeping}
    )
    async with replica(world, "a"):
        run_id, gone_id = [await world.submit(document, "a") for _ in range(2)]
        naps = []
        for each in (run_id, gone_id):
            _, rows = await world.until(each, lambda _, rows: len(rows) > 1)
            naps.append(next(row.pod_name for row in rows if row.pod_name))
            await world.cluster.phase(naps[-1], "Running", namespace=NAMESPACE)

        await RunCatalog(world.history).terminate_run(run_id, SystemClock().now())
        await RunCatalog(world.history).delete_run(gone_id)

        run, _ = await world.ended(run_id)
        assert (run.state, run.error) == (RunState.FAILED, "the run was terminated")
        await world.cluster.gone(naps[1], NAMESPACE)


@SQLITE
async def test_a_replica_that_was_taken_for_dead_writes_nothing_and_drives_again(
    world: World,
) -> None:
    """As one that was stopped for longer than a lease, and goes on then."""
    async with replica(world, "a") as first:
        run_id = await world.submit(chain(4), "a")
        await world.until(run_id, lambda _, rows: len(rows) > 1)
        await world.history.take("b", await world.history.list_unfinished(), None)
        async with replica(world, "b"):
            run, rows = await world.ended(run_id)
            assert not first.engine.done()
            other = await world.submit(chain(1), "a")
            again, _ = await world.ended(other)

    assert (run.state, run.lease) == (RunState.SUCCEEDED, Lease("b", 1)), run.error
    assert counts(rows) == ["ran\n"] * 4
    assert (again.state, again.lease) == (RunState.SUCCEEDED, Lease("a"))

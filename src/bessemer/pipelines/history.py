"""The history in SQL as the engine sees it: runs, tasks, artifacts and their lineage.

``SqlHistory`` keeps the laws of ``records.History``. Every method is one transaction. What people
ask of runs is in ``run_catalog``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, select, update

from bessemer.database.database import Database
from bessemer.database.engine import upsert
from bessemer.pipelines import rows
from bessemer.pipelines.errors import LeaseLost
from bessemer.pipelines.records import (
    FINAL,
    NOBODYS,
    UNFINISHED,
    Artifact,
    Lease,
    Run,
    RunState,
    Task,
    TaskKind,
    TaskState,
    Unfinished,
)
from bessemer.pipelines.spec_cache import Irs
from bessemer.pipelines.tables import ARTIFACTS, LINKS, REPLICAS, RUNS, TASKS

# Built once: building a statement costs more than running it, and the engine saves all the time.
_SELECT_STORED = select(
    *(RUNS.c[name] for name in ("id", "namespace", "state", "history", "owner", "generation"))
).where(RUNS.c.id.in_(bindparam("ids", expanding=True)))
_SELECT_UNFINISHED = (
    select(RUNS.c.id, RUNS.c.state, RUNS.c.owner, RUNS.c.generation)
    .where(RUNS.c.state.in_(UNFINISHED))
    .order_by(RUNS.c.created_at, RUNS.c.id)
)
_TAKE = (
    update(RUNS)
    .where(
        RUNS.c.id == bindparam("run_id"),
        RUNS.c.owner == bindparam("seen_owner"),
        RUNS.c.generation == bindparam("seen_generation"),
        RUNS.c.state.in_(UNFINISHED),
    )
    .values(owner=bindparam("taker"), generation=RUNS.c.generation + 1)
)
_SELECT_RUN = select(RUNS).where(RUNS.c.id == bindparam("id"))
_UPDATE_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run_id"))
    .values(
        state=bindparam("new_state"),
        finished_at=bindparam("ended_at"),
        error=bindparam("new_error"),
        history=bindparam("changes"),
    )
)


class SqlHistory:
    """The pipelines' history in a SQL database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.irs = Irs()

    async def list_unfinished(self) -> list[Unfinished]:
        """The runs that must be driven, by whomever, oldest first."""

        def read(connection: Connection) -> list[Unfinished]:
            found = connection.execute(_SELECT_UNFINISHED)
            return [
                Unfinished(id_, RunState(state), Lease(owner, generation))
                for id_, state, owner, generation in found
            ]

        return await self.database.read(read)

    async def load_run(self, run_id: str) -> tuple[Run, list[Task], list[Artifact]] | None:
        """A run with all its tasks and the artifacts that they name; None when deleted."""

        def read(connection: Connection) -> tuple[Run, list[Task], list[Artifact]] | None:
            run = read_run(connection, self.irs, run_id)
            if run is None:
                return None
            tasks = connection.execute(
                select(TASKS).where(TASKS.c.run_id == run_id).order_by(TASKS.c.created_at)
            ).mappings()
            named = select(LINKS.c.artifact_id).where(LINKS.c.run_id == run_id)
            artifacts = connection.execute(
                select(ARTIFACTS).where(ARTIFACTS.c.id.in_(named))
            ).mappings()
            return (
                run,
                [rows.to_task(row) for row in tasks],
                [rows.to_artifact(row) for row in artifacts],
            )

        return await self.database.read(read)

    async def save(
        self,
        run: Run | None,
        tasks: Sequence[Task] = (),
        artifacts: Sequence[Artifact] = (),
        lease: Lease = NOBODYS,
    ) -> None:
        """Store the engine's columns of the run (state, times, error, history) and the rows.

        Of a run that was deleted meanwhile nothing is stored. A run that was asked to end stays
        CANCELING until it is saved as ended.

        Raises:
            LeaseLost: the run has another lease than that; nothing is stored.
        """

        def write(connection: Connection) -> None:
            ids = {task.run_id for task in tasks} | ({run.id} if run else set())
            found = connection.execute(_SELECT_STORED, {"ids": sorted(ids)}).mappings()
            stored = {row["id"]: row for row in found}
            for row in stored.values():
                _check_lease(row, lease)
            if run is not None and run.id in stored:
                _save_run(connection, run, stored[run.id])
            kept = [task for task in tasks if task.run_id in stored]
            upsert(connection, TASKS, [rows.from_task(task) for task in kept])
            if stored:
                _save_artifacts(connection, artifacts, kept, next(iter(stored.values())))
            links = [link for task in kept for link in rows.to_links(task)]
            upsert(connection, LINKS, links)

        await self.database.write(write)

    async def find_cached(
        self, namespace: str, pipeline_name: str, fingerprint: str
    ) -> tuple[Task, list[Artifact]] | None:
        """The newest SUCCEEDED task with that fingerprint, and its output artifacts."""
        if not fingerprint:
            return None

        def read(connection: Connection) -> tuple[Task, list[Artifact]] | None:
            statement = (
                select(TASKS)
                .join(RUNS, RUNS.c.id == TASKS.c.run_id)
                .where(
                    TASKS.c.fingerprint == fingerprint,
                    TASKS.c.state == TaskState.SUCCEEDED,
                    RUNS.c.namespace == namespace,
                    RUNS.c.pipeline_name == pipeline_name,
                )
                .order_by(TASKS.c.finished_at.desc())
                .limit(1)
            )
            row = connection.execute(statement).mappings().first()
            if row is None:
                return None
            task = rows.to_task(row)
            ids = [id_ for group in task.outputs.artifacts.values() for id_ in group]
            found = connection.execute(select(ARTIFACTS).where(ARTIFACTS.c.id.in_(ids))).mappings()
            return task, [rows.to_artifact(row) for row in found]

        return await self.database.read(read)

    async def find_artifact(
        self, namespace: str, uri: str, type_: str, metadata: Mapping[str, Any]
    ) -> Artifact | None:
        """An imported artifact to reuse (importer with reimport=false): the newest equal one."""

        def read(connection: Connection) -> Artifact | None:
            statement = (
                select(ARTIFACTS)
                .where(
                    ARTIFACTS.c.uri == uri,
                    ARTIFACTS.c.namespace == namespace,
                    ARTIFACTS.c.type == type_,
                )
                .order_by(ARTIFACTS.c.created_at.desc())
            )
            for row in connection.execute(statement).mappings():
                if row["metadata"] == metadata:
                    return rows.to_artifact(row)
            return None

        return await self.database.read(read)

    async def beat(self, replica: str) -> bool:
        """Tell the others that the replica lives; False: they had taken it for dead, or new."""

        def write(connection: Connection) -> bool:
            counted = connection.execute(
                update(REPLICAS).where(REPLICAS.c.id == replica).values(beats=REPLICAS.c.beats + 1)
            )
            if counted.rowcount:
                return True
            connection.execute(REPLICAS.insert().values(id=replica, beats=1))
            return False

        return await self.database.write(write)

    async def beats(self) -> Mapping[str, int]:
        """How often each replica that is there told that it lives."""

        def read(connection: Connection) -> dict[str, int]:
            return {row.id: row.beats for row in connection.execute(select(REPLICAS))}

        return await self.database.read(read)

    async def take(
        self, replica: str, wanted: Sequence[Unfinished], dead: Mapping[str, int] | None
    ) -> set[str]:
        """Make the replica the owner of runs that have the leases they were seen with; which."""

        def write(connection: Connection) -> set[str]:
            owners = {run.lease.owner for run in wanted} - {"", replica}
            if dead is None:
                living = set()
            else:
                living = {one for one in owners if not _bury(connection, one, dead.get(one, 0))}
            return {
                run.id
                for run in wanted
                if run.lease.owner not in living and _take(connection, run, replica)
            }

        return await self.database.write(write)

    async def release(self, replica: str) -> None:
        """Let others have the replica's runs at once; it writes nothing more."""

        def write(connection: Connection) -> None:
            connection.execute(
                update(RUNS)
                .where(RUNS.c.state.in_(UNFINISHED), RUNS.c.owner == replica)
                .values(owner="")
            )
            connection.execute(delete(REPLICAS).where(REPLICAS.c.id == replica))

        await self.database.write(write)


def _bury(connection: Connection, replica: str, beats: int) -> bool:
    """Forget a replica that has not told that it lives since it was seen; False: it has."""
    where = REPLICAS.c.id == replica
    connection.execute(delete(REPLICAS).where(where, REPLICAS.c.beats == beats))
    return connection.execute(select(REPLICAS.c.id).where(where)).first() is None


def _take(connection: Connection, run: Unfinished, replica: str) -> bool:
    owner, generation = run.lease
    given = {"run_id": run.id, "taker": replica}
    seen = {"seen_owner": owner, "seen_generation": generation}
    return connection.execute(_TAKE, given | seen).rowcount == 1


def _check_lease(row: RowMapping, lease: Lease) -> None:
    stored = Lease(row["owner"], row["generation"])
    if stored != lease:
        raise LeaseLost(
            f"run {row['id']} is written by its owner alone, which is {stored.owner!r} "
            f"(generation {stored.generation}), but {lease.owner!r} (generation "
            f"{lease.generation}) tried to; it must take the run again before it writes"
        )


def read_run(connection: Connection, irs: Irs, run_id: str) -> Run | None:
    """A run without its tasks; None if there is none."""
    row = connection.execute(_SELECT_RUN, {"id": run_id}).mappings().first()
    if row is None:
        return None
    return rows.to_run(row, irs.find(connection, [row["spec_id"]])[row["spec_id"]])


def _save_run(connection: Connection, run: Run, stored: RowMapping) -> None:
    if stored["state"] in FINAL:
        return  # only retry brings an ended run back
    state = run.state
    if stored["state"] == RunState.CANCELING and state in UNFINISHED:
        state = RunState.CANCELING  # the engine had read the run before it was asked to end
    # Each once; those of one moment stay in the order they were told in.
    changes = dict.fromkeys((*rows.to_changes(stored["history"]), *run.history))
    history = sorted(changes, key=lambda change: change.at)
    connection.execute(
        _UPDATE_RUN,
        {
            "run_id": run.id,
            "new_state": state,
            "ended_at": run.finished_at,
            "new_error": run.error,
            "changes": rows.from_changes(history),
        },
    )


def _save_artifacts(
    connection: Connection, artifacts: Iterable[Artifact], tasks: Sequence[Task], run: RowMapping
) -> None:
    makers = {
        id_: task
        for task in reversed(tasks)
        for ids in task.outputs.artifacts.values()
        for id_ in ids
        if task.kind not in (TaskKind.DAG, TaskKind.LOOP)
    }
    values = [
        rows.from_artifact(artifact, run["namespace"], run["id"], makers.get(artifact.id))
        for artifact in artifacts
    ]
    # Who made it, and when, is told once: a later save may come from a task that only uses it.
    upsert(connection, ARTIFACTS, values, kept=("namespace", "run_id", "task_id", "created_at"))

"""The history in SQL: runs, tasks, artifacts and their lineage.

``SqlHistory`` is the engine's port (``records.History``, whose laws it keeps) and what the REST
face and the pages read. Every method is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    delete,
    or_,
    select,
    update,
)

from bessemer.database.database import Database
from bessemer.database.engine import upsert
from bessemer.pipelines import lineage, listing, rows
from bessemer.pipelines.errors import Aborted, FailedPrecondition, NotFound
from bessemer.pipelines.records import (
    Artifact,
    Run,
    RunState,
    StateChange,
    Task,
    TaskKind,
    TaskState,
)
from bessemer.pipelines.retrying import Reset
from bessemer.pipelines.spec_cache import Irs
from bessemer.pipelines.tables import ARTIFACTS, EXPERIMENTS, LINKS, RUNS, SPECS, TASKS, VERSIONS

UNFINISHED = (RunState.PENDING, RunState.RUNNING, RunState.CANCELING)
FINAL = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED)

RUN_FIELDS = listing.Fields(
    RUNS,
    {
        "run_id": RUNS.c.id,
        "id": RUNS.c.id,
        "display_name": RUNS.c.display_name,
        "name": RUNS.c.display_name,
        "created_at": RUNS.c.created_at,
        "finished_at": RUNS.c.finished_at,
        "scheduled_at": RUNS.c.scheduled_at,
        "description": RUNS.c.description,
        "storage_state": RUNS.c.storage_state,
        "status": RUNS.c.state,
        "state": RUNS.c.state,
        "namespace": RUNS.c.namespace,
        "experiment_id": RUNS.c.experiment_id,
        "recurring_run_id": RUNS.c.recurring_run_id,
        "pipeline_id": RUNS.c.pipeline_id,
        "pipeline_version_id": RUNS.c.pipeline_version_id,
    },
)


# Built once: building a statement costs more than running it, and the engine saves all the time.
_SELECT_STORED = select(RUNS.c.id, RUNS.c.namespace, RUNS.c.state, RUNS.c.history).where(
    RUNS.c.id.in_(bindparam("ids", expanding=True))
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


@dataclass(frozen=True)
class RunPage:
    """A page of runs, newest knowledge of each, without tasks."""

    runs: Sequence[Run]
    total: int
    next_token: str


class SqlHistory:
    """The pipelines' history in a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._irs = Irs()

    # -- the engine's port -------------------------------------------------------------------

    async def list_unfinished(self) -> list[str]:
        """Ids of the runs that the engine must drive, oldest first."""

        def read(connection: Connection) -> list[str]:
            statement = (
                select(RUNS.c.id)
                .where(RUNS.c.state.in_(UNFINISHED))
                .order_by(RUNS.c.created_at, RUNS.c.id)
            )
            return list(connection.execute(statement).scalars())

        return await self._database.read(read)

    async def load_run(self, run_id: str) -> tuple[Run, list[Task], list[Artifact]] | None:
        """A run with all its tasks and the artifacts that they name; None when deleted."""

        def read(connection: Connection) -> tuple[Run, list[Task], list[Artifact]] | None:
            run = self._find_run(connection, run_id)
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

        return await self._database.read(read)

    async def save(
        self,
        run: Run | None,
        tasks: Sequence[Task] = (),
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store the engine's columns of the run (state, times, error, history) and the rows.

        Of a run that was deleted meanwhile nothing is stored. A run that was asked to end stays
        CANCELING until it is saved as ended.
        """

        def write(connection: Connection) -> None:
            ids = {task.run_id for task in tasks} | ({run.id} if run else set())
            found = connection.execute(_SELECT_STORED, {"ids": sorted(ids)}).mappings()
            stored = {row["id"]: row for row in found}
            if run is not None and run.id in stored:
                _save_run(connection, run, stored[run.id])
            kept = [task for task in tasks if task.run_id in stored]
            upsert(connection, TASKS, [rows.from_task(task) for task in kept])
            if stored:
                _save_artifacts(connection, artifacts, kept, next(iter(stored.values())))
            links = [link for task in kept for link in rows.to_links(task)]
            upsert(connection, LINKS, links)

        await self._database.write(write)

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

        return await self._database.read(read)

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

        return await self._database.read(read)

    def _find_run(self, connection: Connection, run_id: str) -> Run | None:
        row = connection.execute(_SELECT_RUN, {"id": run_id}).mappings().first()
        if row is None:
            return None
        return rows.to_run(row, self._irs.find(connection, [row["spec_id"]])[row["spec_id"]])

    # -- what the REST face and the pages need -----------------------------------------------

    async def create_run(self, run: Run) -> None:
        """Store a new run and its IR, and tell its experiment.

        Raises:
            FailedPrecondition: the experiment is archived.
        """

        def write(connection: Connection) -> None:
            if _is_archived(connection, run.experiment_id):
                raise FailedPrecondition(
                    "a run needs an experiment that is not archived, but "
                    f"{run.experiment_id} is; unarchive it first, or name another"
                )
            spec = rows.from_spec(run.spec, run.platform_spec)
            upsert(connection, SPECS, [spec], kept=("spec", "platform_spec"))
            connection.execute(RUNS.insert().values(**rows.from_run(run, spec["id"])))
            connection.execute(
                update(EXPERIMENTS)
                .where(EXPERIMENTS.c.id == run.experiment_id)
                .values(last_run_created_at=run.created_at)
            )

        await self._database.write(write)

    async def get_run(self, run_id: str) -> Run:
        """The run, without its tasks.

        Raises:
            NotFound: there is none.
        """

        def read(connection: Connection) -> Run:
            run = self._find_run(connection, run_id)
            if run is None:
                raise missing_run(run_id)
            return run

        return await self._database.read(read)

    async def namespace_of_run(self, run_id: str) -> str:
        """The run's namespace; empty if there is no such run."""

        def read(connection: Connection) -> str:
            statement = select(RUNS.c.namespace).where(RUNS.c.id == run_id)
            return str(connection.execute(statement).scalar() or "")

        return await self._database.read(read)

    async def list_runs(
        self, query: listing.Query, namespace: str, experiment_id: str = ""
    ) -> RunPage:
        """A page of a namespace's runs, of one experiment if it is named."""

        def read(connection: Connection) -> RunPage:
            where: list[ColumnElement[bool]] = [RUNS.c.namespace == namespace]
            if experiment_id:
                where.append(RUNS.c.experiment_id == experiment_id)
            page = listing.run(connection, query, where)
            irs = self._irs.find(connection, {row["spec_id"] for row in page.rows})
            runs = [rows.to_run(row, irs[row["spec_id"]]) for row in page.rows]
            return RunPage(runs, page.total, page.next_token)

        return await self._database.read(read)

    async def terminate_run(self, run_id: str, at: datetime) -> None:
        """Ask for a run's end: CANCELING until the engine has ended its pods.

        Raises:
            NotFound: there is no such run.
            FailedPrecondition: it has ended already.
        """

        def write(connection: Connection) -> None:
            run = _find_row(connection, run_id)
            if run["state"] in FINAL:
                raise FailedPrecondition(
                    f"only a run that has not ended can be terminated, but run {run_id} is "
                    f"{run['state']}"
                )
            if run["state"] != RunState.CANCELING:
                _move(connection, run, RunState.CANCELING, at)

        await self._database.write(write)

    async def retry_run(self, run: Run, reset: Reset, at: datetime) -> None:
        """Let a failed run go on, its rows reset.

        Raises:
            NotFound: there is no such run.
            Aborted: it has not failed, or changed since it was read.
        """

        def write(connection: Connection) -> None:
            row = _find_row(connection, run.id)
            check_retry(run.id, row["state"])
            if rows.to_changes(row["history"]) != run.history:
                raise Aborted(f"run {run.id} changed just now; look at it again")
            upsert(connection, TASKS, [rows.from_task(task) for task in reset.changed])
            # Each table alone; a run may have more tasks than a statement may have parameters.
            gone = [{"gone": id_} for id_ in reset.forgotten]
            unlinked = [*gone, *({"gone": task.id} for task in reset.changed)]
            for table, id_, named in (
                (TASKS, TASKS.c.id, gone),
                (LINKS, LINKS.c.task_id, unlinked),
            ):
                if named:
                    connection.execute(delete(table).where(id_ == bindparam("gone")), named)
            _move(connection, row, RunState.RUNNING, at)
            connection.execute(
                update(RUNS).where(RUNS.c.id == run.id).values(finished_at=None, error="")
            )

        await self._database.write(write)

    async def archive_run(self, run_id: str) -> None:
        """Put a run aside: it stays in listings, which tell (and filter by) storage_state.

        Raises:
            NotFound: there is no such run.
        """

        def write(connection: Connection) -> None:
            _find_row(connection, run_id)
            connection.execute(
                update(RUNS).where(RUNS.c.id == run_id).values(storage_state="ARCHIVED")
            )

        await self._database.write(write)

    async def unarchive_run(self, run_id: str) -> None:
        """Take back a run that was put aside.

        Raises:
            NotFound: there is no such run.
            FailedPrecondition: its experiment is archived.
        """

        def write(connection: Connection) -> None:
            run = _find_row(connection, run_id)
            if _is_archived(connection, run["experiment_id"]):
                raise FailedPrecondition(
                    f"run {run_id} can't be unarchived while its experiment "
                    f"{run['experiment_id']} is archived; unarchive the experiment first"
                )
            connection.execute(
                update(RUNS).where(RUNS.c.id == run_id).values(storage_state="AVAILABLE")
            )

        await self._database.write(write)

    async def delete_run(self, run_id: str) -> None:
        """Forget a run, its tasks, and the artifacts that no other run names.

        Raises:
            NotFound: there is no such run.
        """

        def write(connection: Connection) -> None:
            row = _find_row(connection, run_id)
            # Also those that an earlier run made, which is gone and left them to this one.
            named = select(LINKS.c.artifact_id).where(LINKS.c.run_id == run_id)
            elsewhere = select(LINKS.c.artifact_id).where(
                LINKS.c.artifact_id == ARTIFACTS.c.id, LINKS.c.run_id != run_id
            )
            connection.execute(
                delete(ARTIFACTS).where(
                    or_(ARTIFACTS.c.run_id == run_id, ARTIFACTS.c.id.in_(named)),
                    ~elsewhere.exists(),
                )
            )
            for table in (LINKS, TASKS):
                connection.execute(delete(table).where(table.c.run_id == run_id))
            connection.execute(delete(RUNS).where(RUNS.c.id == run_id))
            prune_spec(connection, row["spec_id"])

        await self._database.write(write)

    async def get_artifact(self, artifact_id: str) -> lineage.Provenance:
        """An artifact with its lineage.

        Raises:
            NotFound: there is none.
        """
        return await self._database.read(lambda connection: lineage.get(connection, artifact_id))

    async def list_artifacts(
        self, query: listing.Query, namespace: str, run_id: str = ""
    ) -> lineage.ArtifactPage:
        """A page of a namespace's artifacts; of a run: those that its tasks took or gave."""
        return await self._database.read(
            lambda connection: lineage.find(connection, query, namespace, run_id)
        )


def missing_run(run_id: str) -> NotFound:
    """No such run, in one set of words."""
    return NotFound(f"run {run_id} not found")


def prune_spec(connection: Connection, spec_id: str) -> None:
    """Forget an IR that no run and no pipeline version names."""
    by_run = select(RUNS.c.id).where(RUNS.c.spec_id == SPECS.c.id)
    by_version = select(VERSIONS.c.id).where(VERSIONS.c.spec_id == SPECS.c.id)
    connection.execute(
        delete(SPECS).where(SPECS.c.id == spec_id, ~by_run.exists(), ~by_version.exists())
    )


def check_retry(run_id: str, state: str) -> None:
    """Let a failed run pass.

    Raises:
        Aborted: it has not failed; upstream refuses with that code.
    """
    if state not in (RunState.FAILED, RunState.CANCELED):
        raise Aborted(f"only a failed run can be retried, but run {run_id} is {state}")


def _find_row(connection: Connection, run_id: str) -> RowMapping:
    row = connection.execute(select(RUNS).where(RUNS.c.id == run_id)).mappings().first()
    if row is None:
        raise missing_run(run_id)
    return row


def _is_archived(connection: Connection, experiment_id: str) -> bool:
    state = select(EXPERIMENTS.c.storage_state).where(EXPERIMENTS.c.id == experiment_id)
    return connection.execute(state).scalar() == "ARCHIVED"


def _move(connection: Connection, row: RowMapping, state: RunState, at: datetime) -> None:
    history = (*rows.to_changes(row["history"]), StateChange(state, at))
    connection.execute(
        update(RUNS)
        .where(RUNS.c.id == row["id"])
        .values(state=state, history=rows.from_changes(history))
    )


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

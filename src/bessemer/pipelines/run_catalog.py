"""Runs as people see and command them: what the REST face and the pages ask of the history.

Every method is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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

from bessemer.database.engine import upsert
from bessemer.pipelines import lineage, rows
from bessemer.pipelines.history import SqlHistory, read_run
from bessemer.pipelines.records import FINAL, Run, RunState, StateChange
from bessemer.pipelines.retrying import Reset
from bessemer.pipelines.spec_cache import prune_spec
from bessemer.pipelines.tables import ARTIFACTS, EXPERIMENTS, LINKS, RUNS, SPECS, TASKS
from bessemer.web import paging
from bessemer.web.errors import Aborted, FailedPrecondition, NotFound

RUN_FIELDS = paging.Fields(
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


@dataclass(frozen=True)
class RunPage:
    """A page of runs, newest knowledge of each, without tasks."""

    runs: Sequence[Run]
    total: int
    next_token: str


class RunCatalog:
    """Runs to be made, listed, ended, tried again, put aside and forgotten."""

    def __init__(self, history: SqlHistory) -> None:
        self._database = history.database
        self._irs = history.irs

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
            run = read_run(connection, self._irs, run_id)
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
        self, query: paging.Query, namespace: str, experiment_id: str = ""
    ) -> RunPage:
        """A page of a namespace's runs, of one experiment if it is named."""

        def read(connection: Connection) -> RunPage:
            where: list[ColumnElement[bool]] = [RUNS.c.namespace == namespace]
            if experiment_id:
                where.append(RUNS.c.experiment_id == experiment_id)
            page = paging.run(connection, query, where)
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

    async def retry_run(self, run: Run, reset: Reset, at: datetime, owner: str = "") -> None:
        """Let a failed run go on, its rows reset; that replica drives it, or whoever takes it.

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
                update(RUNS)
                .where(RUNS.c.id == run.id)
                .values(finished_at=None, error="", owner=owner, generation=RUNS.c.generation + 1)
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

        await self._database.write(write, frees=True)

    async def get_artifact(self, artifact_id: str) -> lineage.Provenance:
        """An artifact with its lineage.

        Raises:
            NotFound: there is none.
        """
        return await self._database.read(lambda connection: lineage.get(connection, artifact_id))

    async def list_artifacts(
        self, query: paging.Query, namespace: str, run_id: str = ""
    ) -> lineage.ArtifactPage:
        """A page of a namespace's artifacts; of a run: those that its tasks took or gave."""
        return await self._database.read(
            lambda connection: lineage.find(connection, query, namespace, run_id)
        )


def missing_run(run_id: str) -> NotFound:
    """No such run, in one set of words."""
    return NotFound(f"run {run_id} not found")


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

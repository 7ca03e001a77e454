"""Experiments, pipelines and their versions in SQL. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Table, delete, select, update
from sqlalchemy.exc import IntegrityError

from bessemer.base import ids
from bessemer.database.database import Database
from bessemer.database.engine import upsert
from bessemer.pipelines import rows
from bessemer.pipelines.spec_cache import prune_spec
from bessemer.pipelines.tables import EXPERIMENTS, PIPELINES, RUNS, SPECS, TAGS, VERSIONS
from bessemer.web import paging
from bessemer.web.errors import AlreadyExists, FailedPrecondition, NotFound

T = TypeVar("T")

DEFAULT_EXPERIMENT = "Default"

EXPERIMENT_FIELDS = paging.Fields(
    EXPERIMENTS,
    {
        "experiment_id": EXPERIMENTS.c.id,
        "id": EXPERIMENTS.c.id,
        "display_name": EXPERIMENTS.c.name,
        "name": EXPERIMENTS.c.name,
        "created_at": EXPERIMENTS.c.created_at,
        "last_run_created_at": EXPERIMENTS.c.last_run_created_at,
        "description": EXPERIMENTS.c.description,
        "namespace": EXPERIMENTS.c.namespace,
        "storage_state": EXPERIMENTS.c.storage_state,
    },
)
PIPELINE_FIELDS = paging.Fields(
    PIPELINES,
    {
        "pipeline_id": PIPELINES.c.id,
        "id": PIPELINES.c.id,
        "name": PIPELINES.c.name,
        "display_name": PIPELINES.c.display_name,
        "created_at": PIPELINES.c.created_at,
        "description": PIPELINES.c.description,
        "namespace": PIPELINES.c.namespace,
    },
    tags=True,
)
VERSION_FIELDS = paging.Fields(
    VERSIONS,
    {
        "pipeline_version_id": VERSIONS.c.id,
        "id": VERSIONS.c.id,
        "name": VERSIONS.c.name,
        "display_name": VERSIONS.c.display_name,
        "created_at": VERSIONS.c.created_at,
        "description": VERSIONS.c.description,
        "pipeline_id": VERSIONS.c.pipeline_id,
        "code_source_url": VERSIONS.c.code_source_url,
    },
    tags=True,
)


@dataclass(frozen=True)
class Experiment:
    """A named group of runs."""

    id: str
    namespace: str
    name: str
    description: str = ""
    created_at: datetime | None = None
    last_run_created_at: datetime | None = None
    storage_state: str = "AVAILABLE"  # or ARCHIVED


@dataclass(frozen=True)
class Pipeline:
    """A named series of versions."""

    id: str
    namespace: str
    name: str
    display_name: str
    description: str = ""
    created_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One IR of a pipeline."""

    id: str
    pipeline_id: str
    name: str
    display_name: str
    spec: Mapping[str, Any]
    platform_spec: Mapping[str, Any]
    description: str = ""
    created_at: datetime | None = None
    code_source_url: str = ""
    package_url: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Catalog:
    """Experiments, pipelines and versions in a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _write(self, fn: Callable[[Connection], T], taken: str) -> T:
        try:
            return await self._database.write(fn)
        except IntegrityError as error:
            raise AlreadyExists(f"{taken} already exists; choose another name") from error

    # -- experiments ---------------------------------------------------------------------------

    async def create_experiment(self, experiment: Experiment) -> None:
        """Store a new experiment.

        Raises:
            AlreadyExists: the namespace has one of that name.
        """

        def write(connection: Connection) -> None:
            connection.execute(EXPERIMENTS.insert().values(**_from_experiment(experiment)))

        await self._write(write, f"an experiment named {experiment.name!r}")

    async def ensure_default(self, namespace: str, at: datetime) -> Experiment:
        """The namespace's default experiment, made when it is first needed."""
        fresh = Experiment(ids.make_uid(), namespace, DEFAULT_EXPERIMENT, created_at=at)

        def find(connection: Connection) -> Experiment | None:
            row = (
                connection.execute(
                    select(EXPERIMENTS).where(
                        EXPERIMENTS.c.namespace == namespace,
                        EXPERIMENTS.c.name == DEFAULT_EXPERIMENT,
                    )
                )
                .mappings()
                .first()
            )
            return None if row is None else _to_experiment(row)

        def write(connection: Connection) -> Experiment:
            found = find(connection)
            if found is not None:
                return found
            connection.execute(EXPERIMENTS.insert().values(**_from_experiment(fresh)))
            return fresh

        found = await self._database.read(find)
        return await self._database.write(write) if found is None else found

    async def get_experiment(self, id_: str) -> Experiment:
        """The experiment.

        Raises:
            NotFound: there is none.
        """
        return await self._database.read(
            lambda connection: _to_experiment(_get(connection, EXPERIMENTS, id_, "experiment"))
        )

    async def list_experiments(
        self, query: paging.Query, namespace: str
    ) -> tuple[list[Experiment], int, str]:
        """A page of a namespace's experiments, how many there are, the next page's token."""

        def read(connection: Connection) -> tuple[list[Experiment], int, str]:
            page = paging.run(connection, query, [EXPERIMENTS.c.namespace == namespace])
            return [_to_experiment(row) for row in page.rows], page.total, page.next_token

        return await self._database.read(read)

    async def set_experiment_state(self, id_: str, storage_state: str) -> None:
        """Archive an experiment with all its runs, or take it (not the runs) back.

        Raises:
            NotFound: there is none.
        """

        def write(connection: Connection) -> None:
            row = _get(connection, EXPERIMENTS, id_, "experiment")
            connection.execute(
                update(EXPERIMENTS)
                .where(EXPERIMENTS.c.id == id_)
                .values(storage_state=storage_state)
            )
            if storage_state == "ARCHIVED":
                connection.execute(
                    update(RUNS)
                    .where(RUNS.c.namespace == row["namespace"], RUNS.c.experiment_id == id_)
                    .values(storage_state=storage_state)
                )

        await self._database.write(write)

    async def delete_experiment(self, id_: str) -> None:
        """Forget an experiment; its runs stay.

        Raises:
            NotFound: there is none.
        """

        def write(connection: Connection) -> None:
            _get(connection, EXPERIMENTS, id_, "experiment")
            connection.execute(delete(EXPERIMENTS).where(EXPERIMENTS.c.id == id_))

        await self._database.write(write, frees=True)

    # -- pipelines -----------------------------------------------------------------------------

    async def create_pipeline(self, pipeline: Pipeline, version: Version | None = None) -> None:
        """Store a new pipeline, and its first version if there is one.

        Raises:
            AlreadyExists: the namespace has a pipeline of that name.
        """

        def write(connection: Connection) -> None:
            values = _columns(pipeline, PIPELINES)
            connection.execute(PIPELINES.insert().values(**values))
            _set_tags(connection, pipeline.id, pipeline.tags)
            if version is not None:
                _insert_version(connection, version)

        await self._write(write, f"a pipeline named {pipeline.name!r}")

    async def get_pipeline(self, id_: str) -> Pipeline:
        """The pipeline.

        Raises:
            NotFound: there is none.
        """

        def read(connection: Connection) -> Pipeline:
            return _to_pipelines(connection, [_get(connection, PIPELINES, id_, "pipeline")])[0]

        return await self._database.read(read)

    async def find_pipeline(self, namespace: str, name: str) -> Pipeline:
        """The namespace's pipeline of that name.

        Raises:
            NotFound: there is none.
        """

        def read(connection: Connection) -> Pipeline:
            where = (PIPELINES.c.namespace == namespace, PIPELINES.c.name == name)
            row = connection.execute(select(PIPELINES).where(*where)).mappings().first()
            if row is None:
                raise NotFound(f"pipeline named {name!r} not found")
            return _to_pipelines(connection, [row])[0]

        return await self._database.read(read)

    async def list_pipelines(
        self, query: paging.Query, namespace: str
    ) -> tuple[list[Pipeline], int, str]:
        """A page of a namespace's pipelines, how many there are, the next page's token."""

        def read(connection: Connection) -> tuple[list[Pipeline], int, str]:
            page = paging.run(connection, query, [PIPELINES.c.namespace == namespace])
            return _to_pipelines(connection, page.rows), page.total, page.next_token

        return await self._database.read(read)

    async def update_pipeline(self, pipeline: Pipeline) -> None:
        """Store a pipeline's display name and tags.

        Raises:
            NotFound: there is no such pipeline.
        """

        def write(connection: Connection) -> None:
            _get(connection, PIPELINES, pipeline.id, "pipeline")
            connection.execute(
                update(PIPELINES)
                .where(PIPELINES.c.id == pipeline.id)
                .values(display_name=pipeline.display_name)
            )
            _set_tags(connection, pipeline.id, pipeline.tags)

        await self._database.write(write)

    async def delete_pipeline(self, id_: str, *, cascade: bool = False) -> None:
        """Forget a pipeline, with its versions if ``cascade``.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it has versions and ``cascade`` is not asked for.
        """

        def write(connection: Connection) -> None:
            _get(connection, PIPELINES, id_, "pipeline")
            versions = connection.execute(
                select(VERSIONS.c.id, VERSIONS.c.spec_id).where(VERSIONS.c.pipeline_id == id_)
            ).all()
            if versions and not cascade:
                raise FailedPrecondition(
                    f"pipeline {id_} can't be deleted while it has versions, but it has "
                    f"{len(versions)}; delete them first, or ask for cascade=true"
                )
            for version_id, spec_id in versions:
                _delete_version(connection, version_id, spec_id)
            _set_tags(connection, id_, {})
            connection.execute(delete(PIPELINES).where(PIPELINES.c.id == id_))

        await self._database.write(write, frees=True)

    # -- versions ------------------------------------------------------------------------------

    async def create_version(self, version: Version) -> None:
        """Store a new version of a pipeline.

        Raises:
            NotFound: there is no such pipeline.
            AlreadyExists: the pipeline has a version of that name.
        """

        def write(connection: Connection) -> None:
            _get(connection, PIPELINES, version.pipeline_id, "pipeline")
            _insert_version(connection, version)

        await self._write(write, f"a version named {version.name!r} of the pipeline")

    async def get_version(self, pipeline_id: str, id_: str = "") -> Version:
        """A version of a pipeline; without an id, the newest; an id alone is enough.

        Raises:
            NotFound: there is none.
        """
        given = {VERSIONS.c.pipeline_id: pipeline_id, VERSIONS.c.id: id_}
        where = [column == value for column, value in given.items() if value]

        def read(connection: Connection) -> Version:
            statement = (
                select(VERSIONS)
                .where(*where)
                .order_by(VERSIONS.c.created_at.desc(), VERSIONS.c.id.desc())
                .limit(1)
            )
            row = connection.execute(statement).mappings().first()
            if row is None:
                of = f" of pipeline {pipeline_id}" if pipeline_id else ""
                raise NotFound(f"pipeline version {id_ or '(newest)'}{of} not found")
            return _to_versions(connection, [row])[0]

        return await self._database.read(read)

    async def list_versions(
        self, query: paging.Query, pipeline_id: str
    ) -> tuple[list[Version], int, str]:
        """A page of a pipeline's versions, how many there are, the next page's token."""

        def read(connection: Connection) -> tuple[list[Version], int, str]:
            page = paging.run(connection, query, [VERSIONS.c.pipeline_id == pipeline_id])
            return _to_versions(connection, page.rows), page.total, page.next_token

        return await self._database.read(read)

    async def update_version(self, version: Version) -> None:
        """Store a version's display name and tags.

        Raises:
            NotFound: there is no such version.
        """

        def write(connection: Connection) -> None:
            _get(connection, VERSIONS, version.id, "pipeline version")
            connection.execute(
                update(VERSIONS)
                .where(VERSIONS.c.id == version.id)
                .values(display_name=version.display_name)
            )
            _set_tags(connection, version.id, version.tags)

        await self._database.write(write)

    async def delete_version(self, pipeline_id: str, id_: str) -> None:
        """Forget a version; runs made from it keep its IR.

        Raises:
            NotFound: there is none.
        """

        def write(connection: Connection) -> None:
            row = _get(connection, VERSIONS, id_, "pipeline version")
            if row["pipeline_id"] != pipeline_id:
                raise NotFound(f"pipeline version {id_} of pipeline {pipeline_id} not found")
            _delete_version(connection, id_, row["spec_id"])

        await self._database.write(write, frees=True)


def _get(connection: Connection, table: Table, id_: str, noun: str) -> RowMapping:
    row = connection.execute(select(table).where(table.c.id == id_)).mappings().first()
    if row is None:
        raise NotFound(f"{noun} {id_} not found")
    return row


def _columns(record: object, table: Table) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name in table.c}


def _from_experiment(experiment: Experiment) -> dict[str, Any]:
    return _columns(experiment, EXPERIMENTS)


def _to_experiment(row: RowMapping) -> Experiment:
    return Experiment(**row)


def _insert_version(connection: Connection, version: Version) -> None:
    spec = rows.from_spec(version.spec, version.platform_spec)
    upsert(connection, SPECS, [spec], kept=("spec", "platform_spec"))
    values = {**_columns(version, VERSIONS), "spec_id": spec["id"]}
    connection.execute(VERSIONS.insert().values(**values))
    _set_tags(connection, version.id, version.tags)


def _delete_version(connection: Connection, id_: str, spec_id: str) -> None:
    _set_tags(connection, id_, {})
    connection.execute(delete(VERSIONS).where(VERSIONS.c.id == id_))
    prune_spec(connection, spec_id)


def _set_tags(connection: Connection, owner_id: str, tags: Mapping[str, str]) -> None:
    connection.execute(delete(TAGS).where(TAGS.c.owner_id == owner_id))
    values = [{"owner_id": owner_id, "key": key, "value": value} for key, value in tags.items()]
    upsert(connection, TAGS, values)


def _read_tags(connection: Connection, owners: Sequence[RowMapping]) -> dict[str, dict[str, str]]:
    tags: dict[str, dict[str, str]] = {row["id"]: {} for row in owners}
    for row in connection.execute(select(TAGS).where(TAGS.c.owner_id.in_(tags))):
        tags[row.owner_id][row.key] = row.value
    return tags


def _to_pipelines(connection: Connection, found: Sequence[RowMapping]) -> list[Pipeline]:
    tags = _read_tags(connection, found)
    return [Pipeline(**row, tags=tags[row["id"]]) for row in found]


def _to_versions(connection: Connection, found: Sequence[RowMapping]) -> list[Version]:
    tags = _read_tags(connection, found)
    spec_ids = {row["spec_id"] for row in found}
    specs = {
        row["id"]: row
        for row in connection.execute(select(SPECS).where(SPECS.c.id.in_(spec_ids))).mappings()
    }
    versions = []
    for row in found:
        spec = specs[row["spec_id"]]
        values = {name: value for name, value in row.items() if name != "spec_id"}
        versions.append(
            Version(
                **values,
                spec=spec["spec"],
                platform_spec=spec["platform_spec"],
                tags=tags[row["id"]],
            )
        )
    return versions

"""Artifacts with where they come from and where they went, read from the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select

from bessemer.pipelines import rows
from bessemer.pipelines.records import Artifact
from bessemer.pipelines.tables import ARTIFACTS, LINKS
from bessemer.web import paging
from bessemer.web.errors import NotFound

ARTIFACT_FIELDS = paging.Fields(
    ARTIFACTS,
    {
        "artifact_id": ARTIFACTS.c.id,
        "name": ARTIFACTS.c.name,
        "type": ARTIFACTS.c.type,
        "uri": ARTIFACTS.c.uri,
        "created_at": ARTIFACTS.c.created_at,
        "run_id": ARTIFACTS.c.run_id,
    },
)


@dataclass(frozen=True)
class Link:
    """One end of an artifact's lineage: a task that gave or took it, under a name."""

    task_id: str
    run_id: str
    direction: str  # INPUT or OUTPUT
    name: str


@dataclass(frozen=True)
class Provenance:
    """An artifact with where it comes from and where it went."""

    artifact: Artifact
    namespace: str
    run_id: str  # of the run that made it
    task_id: str
    created_at: datetime | None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class ArtifactPage:
    """A page of artifacts."""

    artifacts: Sequence[Provenance]
    total: int
    next_token: str


def get(connection: Connection, artifact_id: str) -> Provenance:
    """An artifact.

    Raises:
        NotFound: there is none.
    """
    statement = select(ARTIFACTS).where(ARTIFACTS.c.id == artifact_id)
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(f"artifact {artifact_id} not found")
    return _to_provenance(connection, [row])[0]


def find(
    connection: Connection, query: paging.Query, namespace: str, run_id: str = ""
) -> ArtifactPage:
    """A page of a namespace's artifacts; of a run: those that its tasks took or gave."""
    where = [ARTIFACTS.c.namespace == namespace]
    if run_id:
        named = select(LINKS.c.artifact_id).where(LINKS.c.run_id == run_id)
        where.append(ARTIFACTS.c.id.in_(named))
    page = paging.run(connection, query, where)
    return ArtifactPage(_to_provenance(connection, page.rows), page.total, page.next_token)


def _to_provenance(connection: Connection, found: Sequence[RowMapping]) -> list[Provenance]:
    ids = [row["id"] for row in found]
    links: dict[str, list[Link]] = {}
    for row in connection.execute(select(LINKS).where(LINKS.c.artifact_id.in_(ids))).mappings():
        link = Link(row["task_id"], row["run_id"], row["direction"], row["name"])
        links.setdefault(row["artifact_id"], []).append(link)
    return [
        Provenance(
            rows.to_artifact(row),
            row["namespace"],
            row["run_id"],
            row["task_id"],
            row["created_at"],
            tuple(links.get(row["id"], ())),
        )
        for row in found
    ]

"""Importers: an artifact that exists already gets a row, and no pod. Pure."""

from __future__ import annotations

from bessemer.artifacts.store import ArtifactStore, Elsewhere
from bessemer.base.errors import BessemerError
from bessemer.pipelines import placeholders, types
from bessemer.pipelines.records import Artifact
from bessemer.pipelines.spec.model import Importer
from bessemer.pipelines.tree import DagScope, Node, artifact_id


class InvalidImport(BessemerError):
    """The importer's URI is none, or of a place from where nothing is fetched."""


def place(uri: str, name: str, namespace: str, store: ArtifactStore) -> str:
    """The URI of the thing as the store of artifacts spells it; ``name`` is the importer's.

    Raises:
        InvalidImport: it lies elsewhere, where no step could read it.
    """
    try:
        return store.place(namespace, uri)
    except Elsewhere as error:
        raise InvalidImport(
            f"importer {name!r} can't fetch {types.shorten(uri)}, for only artifacts of the "
            f"namespace are imported: {error}"
        ) from None


def make_artifact(body: Importer, node: Node, scope: DagScope) -> Artifact:
    """The artifact to import, with a new id (which stays unless an equal one is reused).

    Raises:
        InvalidImport: there is no URI.
    """

    def lookup(path: str) -> object:
        match placeholders.split(path):
            case ["inputs", "parameters", name]:
                known = {**node.extra, **node.given.parameters}
                return known.get(name, placeholders.UNKNOWN)
            case _:
                return scope.constant(path)

    uri = node.given.parameters.get(body.uri_parameter) if body.uri_parameter else body.uri
    uri = placeholders.fill_value(uri, lookup)
    if not isinstance(uri, str) or not uri:
        raise InvalidImport(
            f"importer {node.spec.name!r} needs the artifact's URI, but got {types.shorten(uri)}"
        )
    name = next(iter(node.component.output_artifacts), "artifact")
    task = node.task
    assert task is not None, "an importer has a row"
    return Artifact(
        id=artifact_id(task.id, 0, name),
        name=name,
        type=body.type,
        schema_version=body.version,
        uri=uri,
        metadata=types.normalize(placeholders.fill_value(dict(body.metadata), lookup)),
    )

"""Stored IRs: the last few stay parsed, and beside that as the text that answers carry.

They are large, never change, and are asked for with every look at their runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, LargeBinary, bindparam, delete, select, type_coerce

from bessemer.pipelines.tables import RUNS, SPECS, VERSIONS

# How many stay parsed, the newest, and how many bytes of text they may have together: parsed they
# take ten times as many. A usual IR has 10 to 100 KiB; a huge one is read again with each look.
_KEPT = 8
_KEPT_BYTES = 2 * 1024 * 1024


class Document(dict[str, Any]):
    """A stored JSON object; shared, so never modified."""

    def __init__(self, text: bytes) -> None:
        super().__init__(orjson.loads(text))
        self.text = text


Documents = Mapping[str, Document]  # "spec" and "platform_spec"

_SELECT = select(
    SPECS.c.id,
    type_coerce(SPECS.c.spec, LargeBinary).label("spec"),
    type_coerce(SPECS.c.platform_spec, LargeBinary).label("platform_spec"),
).where(SPECS.c.id.in_(bindparam("ids", expanding=True)))


class Irs:
    """IRs by the id of their row, which is their hash. For several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Documents] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, connection: Connection, ids: Collection[str]) -> dict[str, Documents]:
        """The IRs with these ids."""
        with self._lock:
            found = {id_: self._known[id_] for id_ in ids if id_ in self._known}
        missing = sorted(set(ids) - set(found))
        if missing:
            for id_, spec, platform_spec in connection.execute(_SELECT, {"ids": missing}):
                found[id_] = {"spec": Document(spec), "platform_spec": Document(platform_spec)}
        with self._lock:
            self._known.update(found)
            for id_ in found:
                self._known.move_to_end(id_)
            kept = sum(map(_size, self._known.values()))
            while kept > _KEPT_BYTES or len(self._known) > _KEPT:
                kept -= _size(self._known.popitem(last=False)[1])
        return found


def _size(documents: Documents) -> int:
    return sum(len(document.text) for document in documents.values())


def prune_spec(connection: Connection, spec_id: str) -> None:
    """Forget an IR that no run and no pipeline version names."""
    by_run = select(RUNS.c.id).where(RUNS.c.spec_id == SPECS.c.id)
    by_version = select(VERSIONS.c.id).where(VERSIONS.c.spec_id == SPECS.c.id)
    connection.execute(
        delete(SPECS).where(SPECS.c.id == spec_id, ~by_run.exists(), ~by_version.exists())
    )


def as_json(document: Mapping[str, Any]) -> Any:
    """What to hand to orjson: the stored text where there is one."""
    return orjson.Fragment(document.text) if isinstance(document, Document) else document

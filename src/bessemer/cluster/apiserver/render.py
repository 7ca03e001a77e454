"""Other forms of an object than itself: Tables for kubectl, metadata alone for caches.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go, metav1.Table.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from bessemer.cluster.apiserver.reading import Listing
from bessemer.cluster.apiserver.request import ApiRequest
from bessemer.cluster.store.watch_cache import Event
from bessemer.kinds import columns
from bessemer.kinds.kind import Column, Kind, Object
from bessemer.kube.client import EventType
from bessemer.kube.errors import ApiError

_META = "meta.k8s.io/v1"


class NotAcceptable(ApiError):
    """No form that the client takes is one that we have."""

    code, reason = 406, "NotAcceptable"


def one(exchange: ApiRequest, kind: Kind, listing: Listing, now: datetime) -> bytes:
    """One object in the form that the Accept header asks for. Raises NotAcceptable."""
    form = read_form(exchange)
    record = listing.records[0]
    if form == "Table":
        return orjson.dumps(_table(exchange, kind, listing, now))
    if form == "PartialObjectMetadata":
        return orjson.dumps(_partial(record.object))
    return record.data


def many(exchange: ApiRequest, kind: Kind, listing: Listing, now: datetime) -> bytes:
    """A list in the form that the Accept header asks for. Raises NotAcceptable."""
    form = read_form(exchange)
    if form == "Table":
        return orjson.dumps(_table(exchange, kind, listing, now))
    if form == "PartialObjectMetadataList":
        items = [_partial(record.object) for record in listing.records]
        head = {"kind": form, "apiVersion": _META, "metadata": _list_meta(listing)}
        return orjson.dumps({**head, "items": items})
    raise _unknown(form)


def event(exchange: ApiRequest, form: str, kind: Kind, change: Event, now: datetime) -> bytes:
    """The object of a watch event in a form that ``read_form`` gave."""
    if form == "PartialObjectMetadata":
        return orjson.dumps(_partial(change.object))
    if form != "Table":
        return change.data
    table: Object = {
        "kind": "Table",
        "apiVersion": _META,
        "metadata": {"resourceVersion": str(change.version)},
        "columnDefinitions": _definitions(_columns(kind)),
        "rows": [],
    }
    if change.type is not EventType.BOOKMARK:
        table["rows"] = [_row(_columns(kind), change.object, _include(exchange), now)]
    return orjson.dumps(table)


def read_form(exchange: ApiRequest) -> str:
    """The first form of the Accept header that we have; empty for the object itself.

    Raises:
        NotAcceptable: it names none of them.
    """
    if b"as=" not in exchange.accept:
        return ""
    for choice in exchange.accept.decode("latin-1").split(","):
        media, *rest = (part.strip() for part in choice.split(";"))
        if media not in ("application/json", "*/*", "application/*"):
            continue
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        form = parameters.get("as", "")
        if not form or (form in _FORMS and parameters.get("v", "v1") == "v1"):
            return form
    raise _unknown("")


_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def _unknown(form: str) -> NotAcceptable:
    return NotAcceptable(
        "only the following media types are accepted: application/json, and as=Table or "
        f"as=PartialObjectMetadata of meta.k8s.io/v1 (asked for {form or 'another'})"
    )


def _list_meta(listing: Listing) -> Object:
    found: Object = {"resourceVersion": str(listing.version)}
    if listing.token:
        found["continue"] = listing.token
        found["remainingItemCount"] = listing.remaining
    return found


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": obj["metadata"]}


def _columns(kind: Kind) -> tuple[Column, ...]:
    if kind.custom and kind.columns:
        return (columns.NAME, *kind.columns)  # apiextensions puts it before a CRD's own columns
    return kind.columns or (columns.NAME, columns.AGE)


def _definitions(shown: tuple[Column, ...]) -> list[Object]:
    return [
        {
            "name": column.name,
            # Ages reach kubectl as text, as upstream's printers write them.
            "type": "string" if column.type == "date" else column.type,
            "format": "name" if column.name == "Name" else "",
            "description": column.description or column.name,
            "priority": column.priority,
        }
        for column in shown
    ]


def _include(exchange: ApiRequest) -> str:
    return exchange.query.get("includeObject", "Metadata")


def _row(shown: tuple[Column, ...], obj: Object, include: str, now: datetime) -> Object:
    row: Object = {"cells": [_cell(column, obj, now) for column in shown]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = _partial(obj)
    return row


def _cell(column: Column, obj: Object, now: datetime) -> Any:
    try:
        value = column.read(obj)
    except (KeyError, TypeError, IndexError, AttributeError):
        value = None  # an object that its controller has not completed yet
    if column.type == "date":
        return columns.age(value, now)
    if value is None:
        return "<none>" if column.type == "string" else 0
    return value


def _table(exchange: ApiRequest, kind: Kind, listing: Listing, now: datetime) -> Object:
    shown = _columns(kind)
    include = _include(exchange)
    return {
        "kind": "Table",
        "apiVersion": _META,
        "metadata": _list_meta(listing),
        "columnDefinitions": _definitions(shown),
        "rows": [_row(shown, record.object, include, now) for record in listing.records],
    }

"""Lists and watches: selecting, paging at one moment, joining bytes.

Source: k8s.io/apiserver/pkg/endpoints/handlers/get.go, storage/continue.go.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from bessemer.cluster.store.records import Key, Record
from bessemer.cluster.store.store import Store
from bessemer.cluster.store.watch_cache import Event, Watcher
from bessemer.kinds.kind import Kind, Object
from bessemer.kube import selectors
from bessemer.kube.client import EventType, Selection
from bessemer.kube.errors import BadRequest, Expired, version_to_come
from bessemer.kube.requests import ALL, Page, WatchOptions

# Lists being paged through at once; the oldest is forgotten, and its reader told Expired.
_SNAPSHOTS = 64
_VERSION_DIGITS = 20
# How a watch with sendInitialEvents says that it told the whole state.
_INITIAL_END = "k8s.io/initial-events-end"


class Listing(NamedTuple):
    """Objects at one moment."""

    records: Sequence[Record]
    version: int
    token: str = ""  # continue; empty on the last page
    remaining: int | None = None


class Scope(NamedTuple):
    """What is listed: what the reader's rights were asked for."""

    resource: str
    selection: Selection


class Snapshots:
    """What paged lists still have to tell; records are shared, so one is a list of references.

    Tokens can be guessed, so a list goes on only for who may list, and lists, the same.
    """

    def __init__(self) -> None:
        self._lists: OrderedDict[int, tuple[Scope, Listing]] = OrderedDict()
        self._number = 0

    def first(self, scope: Scope, listing: Listing, limit: int) -> Listing:
        """The first page."""
        if limit <= 0 or len(listing.records) <= limit:
            return listing
        self._number += 1
        self._lists[self._number] = (scope, listing)
        while len(self._lists) > _SNAPSHOTS:
            self._lists.popitem(last=False)
        return self._cut(self._number, listing, 0, limit)

    def next(self, scope: Scope, page: Page) -> Listing:
        """The page after the token's.

        Raises:
            BadRequest: no token of ours.
            Expired: the list is forgotten.
        """
        try:
            number, start, version = orjson.loads(base64.urlsafe_b64decode(page.token))
            number, start, version = int(number), int(start), int(version)
        except (ValueError, TypeError, binascii.Error) as error:
            raise BadRequest(
                "continue key is not valid: it is none that this server gave"
            ) from error
        begun, listing = self._lists.get(number, (scope, None))
        if begun != scope or start < 0:
            raise BadRequest("continue key is not valid: it is another list's")
        if listing is None or listing.version != version:
            raise Expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        self._lists.move_to_end(number)
        limit = page.limit if page.limit > 0 else len(listing.records)
        return self._cut(number, listing, start, limit)

    def _cut(self, number: int, listing: Listing, start: int, limit: int) -> Listing:
        end = start + limit
        left = len(listing.records) - end
        if left <= 0:
            self._lists.pop(number, None)
            return Listing(listing.records[start:], listing.version)
        token = base64.urlsafe_b64encode(orjson.dumps([number, end, listing.version])).decode()
        return Listing(listing.records[start:end], listing.version, token, left)


def select(
    store: Store, snapshots: Snapshots, kind: Kind, selection: Selection, page: Page
) -> Listing:
    """The selected objects at one moment, or a page of them."""
    scope = Scope(kind.resource, selection)
    if page.token:
        return snapshots.next(scope, page)
    namespace = selection.namespace if kind.namespaced else ""
    matches = selectors.matcher(kind, selection)
    name = selectors.named(selection)
    records: Sequence[Record]
    if name and (namespace or not kind.namespaced):
        one = store.get(Key(kind.resource, namespace, name))
        records = [one] if one else []
    else:
        records = store.list(kind.resource, namespace)
    if matches:
        records = [record for record in records if matches(record.object)]
    return snapshots.first(scope, Listing(records, store.version), page.limit)


def join(kind: Kind, listing: Listing) -> bytes:
    """The listing as JSON, from the objects' own bytes."""
    metadata: dict[str, object] = {"resourceVersion": str(listing.version)}
    if listing.token:
        metadata["continue"] = listing.token
        metadata["remainingItemCount"] = listing.remaining
    head = orjson.dumps(
        {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
    )
    items = b",".join([record.data for record in listing.records])
    return b"".join((head[:-1], b',"items":[', items, b"]}"))


def watch(store: Store, kind: Kind, selection: Selection, options: WatchOptions) -> Watcher:
    """A watcher that is attached to the store."""
    namespace = selection.namespace if kind.namespaced else ""
    watcher = Watcher(namespace, selectors.matcher(kind, selection))
    begins = options.since in ("", "0")
    if begins or options.initial_events:
        listing = select(store, Snapshots(), kind, selection, ALL)
        watcher.prefill(
            Event(EventType.ADDED, record.object, record.data, record.version)
            for record in listing.records
        )
        if options.initial_events:
            watcher.prefill([bookmark(kind, listing.version, initial_end=True)])
        since = listing.version
    else:
        since = _version(options.since)
    store.watch(kind.resource, watcher, since)
    return watcher


def check_version(current: int, version: str, match: str, page: Page) -> None:
    """Refuse to read at a version that we don't have: we know the present alone.

    Raises:
        BadRequest: the two don't go together. Expired: it is past. Timeout: it is to come.
    """
    if match and not version:
        raise BadRequest(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless "
            "resourceVersion is provided"
        )
    if match not in ("", "Exact", "NotOlderThan"):
        raise BadRequest(
            f'resourceVersionMatch: Unsupported value: "{match}": supported values: "Exact", '
            '"NotOlderThan"'
        )
    if not version:
        return
    wanted = _version(version)
    if page.token and wanted:
        raise BadRequest("specifying resource version is not allowed when using continue")
    if wanted > current:
        raise version_to_come(wanted, current)
    if match == "Exact" and wanted < current:
        raise Expired(f"The resourceVersion for the provided list is too old: {wanted}")


def _version(text: str) -> int:
    # Upstream's are of 64 bits.
    if not text.isascii() or not text.isdecimal() or len(text) > _VERSION_DIGITS:
        raise BadRequest(f'resourceVersion: Invalid value: "{text}": must be a number')
    return int(text)


def bookmark(kind: Kind, version: int, *, initial_end: bool = False) -> Event:
    """Nothing happened up to that version."""
    metadata: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {_INITIAL_END: "true"}
    obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    return Event(EventType.BOOKMARK, obj, orjson.dumps(obj), version)

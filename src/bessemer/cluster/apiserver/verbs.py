"""The verbs as HTTP: parameters and bodies in, the machine's records out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any

import orjson

from bessemer.base.clock import Clock
from bessemer.cluster.admission.structure import STRICTNESS, FieldValidation, Strictness
from bessemer.cluster.apiserver import (
    duplicates,
    escalation,
    fieldmanagers,
    reading,
    render,
    watching,
)
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.cluster.apiserver.reading import Listing
from bessemer.cluster.apiserver.request import Answer, ApiRequest, parse
from bessemer.cluster.apiserver.scale import SCALE
from bessemer.kinds import meta, schemas
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.schemas import Fault
from bessemer.kube.client import DeleteOptions, PatchType, Selection
from bessemer.kube.errors import BadRequest, MethodNotAllowed, UnsupportedMediaType
from bessemer.kube.requests import ApplyOptions, Page, Target

_STRICT = {mode.value: mode for mode in FieldValidation}
_PATCH_TYPES = {patch_type.value: patch_type for patch_type in PatchType}
_PROPAGATION = ("Background", "Foreground", "Orphan")
# Kinds whose deletion is answered with the object; the others' with a Status.
_DELETED_OBJECT = frozenset({"pods", "services", "serviceaccounts", "persistentvolumeclaims"})

# Characters of all warnings to one request, and of each where they are more than that.
_MOST_WARNINGS, _MOST_WARNING = 4096, 256
_MOST_COUNT = 64  # Python's client takes a hundred headers of an answer
# Bytes of a body that is read once more, slowly, on the event loop; larger ones are beside it.
_SMALL = 32 * 1024
_JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set "
    "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
    "this warning"
)


class Verbs:
    """Every verb of every kind."""

    def __init__(self, machine: Machine, rbac: Rbac, clock: Clock) -> None:
        self._machine = machine
        self._rbac = rbac
        self._clock = clock
        self._by_verb: Mapping[str, Callable[[ApiRequest, Target], Awaitable[Answer | None]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def serve(self, exchange: ApiRequest, verb: str, target: Target) -> Answer | None:
        """The answer; None when the verb streamed it itself."""
        act = self._by_verb.get(verb)
        if act is None or (target.name and verb == "create"):
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        return await act(exchange, target)

    async def _get(self, exchange: ApiRequest, target: Target) -> Answer:
        if b"as=" in exchange.accept:
            record = self._machine.get(target)
            listing = Listing([record], record.version)
            kind = SCALE if target.subresource == "scale" else target.kind
            return Answer(render.one(exchange, kind, listing, self._clock.now()))
        return Answer(self._machine.get_raw(target))

    async def _list(self, exchange: ApiRequest, target: Target) -> Answer:
        if not exchange.scope["query_string"] and b"as=" not in exchange.accept:
            return Answer(self._machine.list_raw(target.kind, Selection(target.namespace)))
        selection = _selection(exchange, target)
        page = Page(exchange.number("limit") or 0, exchange.query.get("continue", ""))
        query = exchange.query
        version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        reading.check_version(self._machine.version, version, match, page)
        if b"as=" in exchange.accept:
            listing = self._machine.list(target.kind, selection, page)
            return Answer(render.many(exchange, target.kind, listing, self._clock.now()))
        return Answer(self._machine.list_raw(target.kind, selection, page))

    async def _watch(self, exchange: ApiRequest, target: Target) -> None:
        selection = _selection(exchange, target)
        await watching.serve(exchange, self._machine, self._clock, target, selection)

    async def _create(self, exchange: ApiRequest, target: Target) -> Answer:
        obj = await exchange.read_object()
        with _Request(exchange) as request:
            await request.check_duplicates(target.kind)
            escalation.check(self._rbac, self._machine, exchange.user, target, obj)
            record = await self._machine.create(
                target, obj, exchange.user, dry_run=request.dry_run, manager=request.manager
            )
            return request.answer(record.data, 201)

    async def _update(self, exchange: ApiRequest, target: Target) -> Answer:
        obj = await exchange.read_object()
        with _Request(exchange) as request:
            await request.check_duplicates(target.kind)
            escalation.check(self._rbac, self._machine, exchange.user, target, obj)
            record = await self._machine.update(
                target, obj, exchange.user, dry_run=request.dry_run, manager=request.manager
            )
            return request.answer(record.data)

    async def _patch(self, exchange: ApiRequest, target: Target) -> Answer:
        patch_type = _PATCH_TYPES.get(exchange.content_type)
        if patch_type is None:
            raise UnsupportedMediaType(_patch_refusal(exchange.content_type))
        if patch_type is PatchType.APPLY:
            return await self._apply(exchange, target)
        fieldmanagers.check_force(exchange)
        patch = parse(await exchange.read(), "application/json")
        with _Request(exchange) as request:
            escalation.check_patch(
                self._rbac, self._machine, exchange.user, target, patch, patch_type
            )
            record = await self._machine.patch(
                target,
                patch,
                patch_type,
                exchange.user,
                dry_run=request.dry_run,
                manager=request.manager,
            )
            return request.answer(record.data)

    async def _apply(self, exchange: ApiRequest, target: Target) -> Answer:
        fieldmanagers.check_applier(exchange)
        stated = await exchange.read_object()
        user = exchange.user

        def judge(obj: Object, *, creates: bool) -> None:
            if creates:
                fieldmanagers.check_create(self._rbac, user, target)
            escalation.check(self._rbac, self._machine, user, target, obj)

        with _Request(exchange) as request:
            await request.check_duplicates(target.kind)
            options = ApplyOptions(request.manager, exchange.flag("force"), request.dry_run)
            applied = await self._machine.apply(target, stated, options, user, judge)
            return request.answer(applied.record.data, 201 if applied.created else 200)

    async def _delete(self, exchange: ApiRequest, target: Target) -> Answer:
        options, dry_run, headers = await _delete_options(exchange, target.kind)
        record = await self._machine.delete(target, options, exchange.user, dry_run=dry_run)
        kind = target.kind
        left = self._machine.lookup(kind, target.namespace, target.name)
        gone = left is None or meta.uid(left) != meta.uid(record.object)
        if not gone or kind.resource in _DELETED_OBJECT:
            return Answer(record.data, headers=headers)
        details = {
            "name": target.name,
            "group": kind.group,
            "kind": kind.plural,
            "uid": meta.uid(record.object),
        }
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Answer(orjson.dumps({**status, "details": details}), headers=headers)

    async def _delete_collection(self, exchange: ApiRequest, target: Target) -> Answer:
        options, dry_run, headers = await _delete_options(exchange, target.kind)
        records = await self._machine.delete_collection(
            target.kind, _selection(exchange, target), options, exchange.user, dry_run=dry_run
        )
        version = max((record.version for record in records), default=0)
        return Answer(reading.join(target.kind, Listing(records, version)), headers=headers)


class _Request:
    """What a write is accompanied by: dryRun, fieldValidation, and the warnings it answers."""

    def __init__(self, exchange: ApiRequest) -> None:
        self.dry_run = False
        self.manager = fieldmanagers.read(exchange)
        self._exchange = exchange
        self._is_asked = False
        self._strictness = Strictness(FieldValidation.WARN)
        if exchange.scope["query_string"]:
            self.dry_run = _dry_run(exchange.query.get("dryRun", ""))
            if mode := exchange.query.get("fieldValidation"):
                self._strictness.mode = _field_validation(mode)
                self._is_asked = True

    def __enter__(self) -> _Request:
        self._token = STRICTNESS.set(self._strictness)
        return self

    def __exit__(self, *_: object) -> None:
        STRICTNESS.reset(self._token)

    async def check_duplicates(self, kind: Kind) -> None:
        """Refuse the body's duplicate keys, or warn of them. Raises BadRequest."""
        exchange, strictness = self._exchange, self._strictness
        is_json = exchange.content_type in ("", "*/*", "application/json") or (
            exchange.content_type == PatchType.APPLY and exchange.body.lstrip()[:1] == b"{"
        )
        if not self._is_asked or not is_json or strictness.mode is FieldValidation.IGNORE:
            return
        body = exchange.body
        if len(body) <= _SMALL:
            paths = duplicates.find(body)
        else:
            paths = await asyncio.to_thread(duplicates.find, body)
        texts = [f'duplicate field "{path}"' for path in paths]
        if texts and strictness.mode is FieldValidation.STRICT:
            raise BadRequest(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                "strict decoding error: " + ", ".join(texts)
            )
        strictness.warnings.extend(texts)

    def answer(self, data: bytes, status: int = 200) -> Answer:
        """The object, with the warnings in headers."""
        warnings = self._strictness.warnings
        if not warnings:
            return Answer(data, status)
        headers = [(b"warning", _warning(text)) for text in _shorten(dict.fromkeys(warnings))]
        return Answer(data, status, headers)


def _shorten(texts: Collection[str]) -> Iterator[str]:
    """The texts as headers may hold them; no client reads headers without end.

    Source: k8s.io/apiserver pkg/endpoints/filters/warning.go.
    """
    longest = _MOST_WARNING if sum(map(len, texts)) > _MOST_WARNINGS else _MOST_WARNINGS
    left = _MOST_WARNINGS
    for number, text in enumerate(texts):
        left -= min(len(text), longest)
        if left < 0 or number == _MOST_COUNT:
            return
        yield text[:longest]


def _warning(text: str) -> bytes:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'.encode("ascii", "replace")


def _dry_run(value: str) -> bool:
    if value not in ("", "All"):
        raise BadRequest(f'dryRun: Unsupported value: "{value}": supported values: "All"')
    return value == "All"


def _field_validation(value: str) -> FieldValidation:
    mode = _STRICT.get(value)
    if mode is None:
        raise BadRequest(
            f'fieldValidation: Unsupported value: "{value}": supported values: "Ignore", '
            '"Strict", "Warn"'
        )
    return mode


def _selection(exchange: ApiRequest, target: Target) -> Selection:
    query = exchange.query
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    return Selection(target.namespace, labels, fields)


def _patch_refusal(content_type: str) -> str:
    return (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(_PATCH_TYPES)
        + f" (got {content_type or 'none'})"
    )


async def _delete_options(
    exchange: ApiRequest, kind: Kind
) -> tuple[DeleteOptions, bool, list[tuple[bytes, bytes]]]:
    """The options, whether nothing is to be done, and the headers that warn."""
    body = await exchange.read()
    given: Any = await exchange.parse(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise BadRequest("DeleteOptions must be an object")
    for finding in schemas.checker("meta.v1.DeleteOptions")(given) or ():
        if finding.fault in (Fault.MISMATCH, Fault.MALFORMED):
            raise BadRequest(f"DeleteOptions: {finding.path} can't be read: it is of another type")
    grace = given.get("gracePeriodSeconds")
    if grace is None:
        grace = exchange.number("gracePeriodSeconds")
    dry_run = exchange.query.get("dryRun", "")
    for value in given.get("dryRun") or ():
        dry_run = value
    propagation = _propagation(exchange, given)
    headers = []
    if not propagation and kind is JOB:
        # As old as the kind: who doesn't say otherwise keeps the pods.
        propagation = "Orphan"
        headers.append((b"warning", _warning(_JOB_WARNING)))
    options = DeleteOptions(propagation, grace, *_preconditions(given))
    return options, _dry_run(dry_run), headers


def _propagation(exchange: ApiRequest, given: Object) -> str:
    propagation = given.get("propagationPolicy") or exchange.query.get("propagationPolicy")
    orphan = given.get("orphanDependents")
    if propagation is None and orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation is None:
        return ""  # the kind's default, or what stands on the object
    if propagation not in _PROPAGATION:
        raise BadRequest(
            f'propagationPolicy: Unsupported value: "{propagation}": supported values: '
            + ", ".join(f'"{word}"' for word in _PROPAGATION)
        )
    return str(propagation)


def _preconditions(given: Object) -> tuple[str, str]:
    found = given.get("preconditions") or {}
    return str(found.get("uid") or ""), str(found.get("resourceVersion") or "")

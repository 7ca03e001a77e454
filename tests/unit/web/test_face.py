"""A face made of ``web`` alone, as a new capability would make one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bessemer.base.errors import BessemerError
from bessemer.database.errors import DiskFull
from bessemer.kube.access import Attributes, Decision, User
from bessemer.kube.errors import Conflict
from bessemer.web import errors
from bessemer.web.answers import ErrorAnswers, JsonResponse
from bessemer.web.bodies import Limited, read_form, read_json
from bessemer.web.errors import Refusal
from bessemer.web.guard import Guard
from bessemer.web.requests import admit, params_of, user_of
from bessemer.web.streams import chain

MOST = 1000  # bytes of a body


class OddNote(BessemerError):
    """An error of the face's own."""


@dataclass
class People:
    """Tokens are names; rights are namespaces by name."""

    rights: dict[str, set[str]] = field(default_factory=lambda: {"ann": {"a"}, "bob": {"b"}})

    async def authenticate(self, token: str) -> User | None:
        return User(token) if token in self.rights else None

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(attributes.namespace in self.rights[user.name])


class Notes:
    """Notes, kept in memory by namespace."""

    def __init__(self, people: People) -> None:
        self._guard = Guard(people, people)
        self.raised: Exception | None = None
        answer = ErrorAnswers(lambda _, code, words: {"code": code, "why": words}, {OddNote: 9})
        self._answer = answer
        self._app = Starlette(
            routes=[
                Route("/notes/{namespace}", self.write, methods=["POST"]),
                Route("/notes/{namespace}", self.follow, methods=["GET"]),
                Route("/forms", self.form, methods=["POST"]),
                Route("/fault", self.fault),
            ],
            exception_handlers={
                BessemerError: answer, HTTPException: answer, Exception: answer,
            },
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            admit(scope, await self._guard.identify(Request(scope)))
        except Refusal as error:
            response = await self._answer(Request(scope), error)
            await response(scope, receive, send)
            return
        await self._app(scope, Limited(receive, MOST), send)

    async def write(self, request: Request) -> Response:
        await self._guard.check(user_of(request), self._asked(request, "create"))
        return JsonResponse({"note": await read_json(request), "params": params_of(request)})

    async def follow(self, request: Request) -> Response:
        async def ticks() -> AsyncIterator[bytes]:
            while True:
                yield b"tick"
                await asyncio.sleep(0.01)

        asked = self._asked(request, "get")
        await self._guard.check(user_of(request), asked)
        pieces = self._guard.while_allowed(request, asked, chain(b"first ", ticks()))
        return StreamingResponse(pieces)

    async def form(self, request: Request) -> Response:
        return JsonResponse(await read_form(request, 100))

    async def fault(self, request: Request) -> Response:
        assert self.raised is not None
        raise self.raised

    @staticmethod
    def _asked(request: Request, verb: str) -> Attributes:
        return Attributes(verb, "notes.dev", "notes", namespace=request.path_params["namespace"])


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def notes(people: People) -> Notes:
    return Notes(people)


@pytest.fixture
async def http(notes: Notes) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(notes, raise_app_exceptions=False)
    ann = {"Authorization": "Bearer ann"}
    async with httpx.AsyncClient(transport=transport, headers=ann, base_url="http://web") as http:
        yield http


async def test_who_may_is_answered(http: httpx.AsyncClient) -> None:
    answer = await http.post("/notes/a?pageSize=3&empty=", json={"text": "x"})

    assert answer.json() == {"note": {"text": "x"}, "params": {"page_size": "3"}}


@pytest.mark.parametrize(
    ("token", "status", "why"),
    [
        ("Bearer bob", 403, "user 'bob' may not create notes.notes.dev in namespace 'a'"),
        ("Bearer eve", 401, "not known here"),
        ("Basic ann", 401, "needs a bearer token"),
        ("", 401, "Authorization: Bearer <token>"),
    ],
)
async def test_who_may_not_is_told_why(
    http: httpx.AsyncClient, token: str, status: int, why: str
) -> None:
    answer = await http.post("/notes/a", json={}, headers={"Authorization": token})

    assert (answer.status_code, why in answer.json()["why"]) == (status, True)


async def test_a_stream_ends_with_the_right_to_it(http: httpx.AsyncClient, people: People) -> None:
    people.rights["ann"] = {"a"}
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, people.rights["ann"].clear)

    async with asyncio.timeout(30):
        answer = await http.get("/notes/a")

    assert answer.text.startswith("first tick")


async def pieces(size: int) -> AsyncIterator[bytes]:
    yield b"["
    yield b" " * (size - 2)
    yield b"]"


async def test_a_body_is_as_large_as_the_face_takes_whatever_it_says(
    http: httpx.AsyncClient,
) -> None:
    fits = await http.post("/notes/a", content=pieces(MOST))
    too_large = await http.post("/notes/a", content=pieces(MOST + 1))
    no_json = await http.post("/notes/a", content=b"{")

    assert fits.status_code == 200
    assert (too_large.status_code, too_large.json()["code"]) == (413, 8)
    assert (no_json.status_code, no_json.json()["code"]) == (400, 3)


async def test_a_form_that_is_too_large_is_empty(http: httpx.AsyncClient) -> None:
    assert (await http.post("/forms", data={"a": "1", "b": ""})).json() == {"a": "1", "b": ""}
    assert (await http.post("/forms", data={"a": "1" * 200})).json() == {}


@pytest.mark.parametrize(
    ("error", "status", "code", "why"),
    [
        (errors.NotFound("no note x"), 404, 5, "no note x"),
        (errors.Aborted("it changed"), 409, 10, "it changed"),
        (OddNote("odd"), 400, 9, "odd"),
        (Conflict("it changed"), 409, 6, "it changed"),
        (DiskFull("free some space"), 503, 14, "free some space"),
        (ValueError("a secret"), 500, 13, "internal error"),
        (HTTPException(405), 405, 12, "Method Not Allowed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_errors_are_http_by_one_table(
    http: httpx.AsyncClient, notes: Notes, error: Exception, status: int, code: int, why: str
) -> None:
    notes.raised = error

    answer = await http.get("/fault")

    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["code"]) == (status, code)
    assert told["why"].startswith(why)
    assert "secret" not in told["why"]

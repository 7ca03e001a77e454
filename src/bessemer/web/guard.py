"""Who asks, and may they: what every route of every HTTP face goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request

from bessemer.kube.access import Attributes, Authenticator, Authorizer, User
from bessemer.web.errors import PermissionDenied, Unauthenticated

# How long a right that was taken away may go on being used.
_LOOK_SECONDS = 1.0
_CURE = "pass the header 'Authorization: Bearer <token>'"


@dataclass(frozen=True)
class Guard:
    """Authentication by bearer token, authorization by RBAC."""

    authenticator: Authenticator
    authorizer: Authorizer

    async def identify(self, request: Request, cure: str = _CURE) -> User:
        """The request's user; ``cure`` tells how the face's own clients give a token.

        Raises:
            Unauthenticated: no bearer token, or one that is not known.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated(f"a request needs a bearer token, but has none; {cure}")
        return await self.recognize(token.strip())

    async def recognize(self, token: str) -> User:
        """The token's user.

        Raises:
            Unauthenticated: it is not known.
        """
        user = await self.authenticator.authenticate(token) if token else None
        if user is None:
            raise Unauthenticated(
                "the bearer token is not known here, or has ended; get a fresh one"
            )
        return user

    async def allows(self, user: User, asked: Attributes) -> bool:
        """Whether a rule allows it."""
        return (await self.authorizer.authorize(user, asked)).allowed

    async def check(self, user: User, asked: Attributes) -> None:
        """Let the user pass.

        Raises:
            PermissionDenied: no rule allows it.
        """
        decision = await self.authorizer.authorize(user, asked)
        if not decision.allowed:
            reason = f": {decision.reason}" if decision.reason else ""
            raise PermissionDenied(
                f"user {user.name!r} may not {asked.verb} {asked.resource}.{asked.group} in "
                f"namespace {asked.namespace!r}{reason}; ask for a role binding there"
            )

    async def while_allowed(
        self, request: Request, asked: Attributes, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """The pieces of a stream, until the request may not be made any more.

        Who asked is judged again each second: a stream is one request for as long as it runs.
        """
        time = asyncio.get_running_loop().time
        reading, due = asyncio.ensure_future(anext(pieces, None)), time() + _LOOK_SECONDS
        try:
            while True:
                done, _ = await asyncio.wait({reading}, timeout=max(due - time(), 0))
                if time() >= due:
                    if not await self._may_still(request, asked):
                        return
                    due = time() + _LOOK_SECONDS
                if done:
                    piece = reading.result()
                    if piece is None:
                        return
                    yield piece
                    reading = asyncio.ensure_future(anext(pieces, None))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _may_still(self, request: Request, asked: Attributes) -> bool:
        try:
            await self.check(await self.identify(request), asked)
        except (Unauthenticated, PermissionDenied):
            return False
        return True

"""Who asks, and may they: what every route of the REST face goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request

from bessemer.kube.access import Attributes, Authenticator, Authorizer, User
from bessemer.pipelines.errors import PermissionDenied, Unauthenticated

GROUP = "pipelines.kubeflow.org"
# How long a right that was taken away may go on being used.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Guard:
    """Authentication by bearer token, authorization by RBAC on ``pipelines.kubeflow.org``."""

    authenticator: Authenticator
    authorizer: Authorizer

    async def identify(self, request: Request) -> User:
        """The request's user.

        Raises:
            Unauthenticated: no bearer token, or one that is not known.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated(
                "a request needs a bearer token, but has none; pass existing_token to kfp.Client, "
                "or the header 'Authorization: Bearer <token>'"
            )
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

    async def while_allowed(
        self, request: Request, namespace: str, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """The pieces of a stream of runs in that namespace, until the request may not be made.

        Who asked is judged again each second: a stream is one request for as long as a step runs.
        """
        time = asyncio.get_running_loop().time
        reading, due = asyncio.ensure_future(anext(pieces, None)), time() + _LOOK_SECONDS
        try:
            while True:
                done, _ = await asyncio.wait({reading}, timeout=max(due - time(), 0))
                if time() >= due:
                    if not await self._may_still(request, namespace):
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

    async def _may_still(self, request: Request, namespace: str) -> bool:
        try:
            await self.check(await self.identify(request), "get", "runs", namespace)
        except (Unauthenticated, PermissionDenied):
            return False
        return True

    async def check(self, user: User, verb: str, resource: str, namespace: str) -> None:
        """Let the user pass.

        Raises:
            PermissionDenied: no rule allows it.
        """
        attributes = Attributes(verb, GROUP, resource, namespace=namespace)
        decision = await self.authorizer.authorize(user, attributes)
        if not decision.allowed:
            reason = f": {decision.reason}" if decision.reason else ""
            raise PermissionDenied(
                f"user {user.name!r} may not {verb} {resource}.{GROUP} in namespace "
                f"{namespace!r}{reason}; ask for a role binding there"
            )

"""Who asks, and may they: what every route of the REST face goes through."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from bessemer.kube.access import Attributes, Authenticator, Authorizer, User
from bessemer.pipelines.errors import PermissionDenied, Unauthenticated

GROUP = "pipelines.kubeflow.org"


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

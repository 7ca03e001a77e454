"""What a request asks: its user, and its query."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from bessemer.kube.access import User

_USER = "bessemer.user"


def admit(scope: Scope, user: User) -> None:
    """Keep who asks, for the routes; a face does so before any of them runs."""
    scope[_USER] = user


def user_of(request: Request) -> User:
    """Who asks."""
    user: User = request.scope[_USER]
    return user


def params_of(request: Request) -> dict[str, str]:
    """The query in snake_case; empty values are as good as absent."""
    return {_snake(key): value for key, value in request.query_params.items() if value}


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)

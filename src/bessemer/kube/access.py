"""Who asks, and may they: the ports that every HTTP face of ours goes through.

On the embedded cluster both are fulfilled by ``cluster.apiserver`` (tokens, RBAC); on Kubernetes
by TokenReview and SubjectAccessReview.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class User:
    """An identity that was proven. Source: k8s.io/apiserver/pkg/authentication/user."""

    name: str  # "system:serviceaccount:kubeflow:pipeline-runner"
    groups: tuple[str, ...] = ()
    uid: str = ""


# Our own controllers, and the bearer of the home's admin token.
ADMIN = User("bessemer:admin", ("system:masters", "system:authenticated"))


@dataclass(frozen=True)
class Attributes:
    """What is asked for, as SubjectAccessReview spells it; empty name or namespace means all."""

    verb: str  # get list watch create update patch delete deletecollection
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""  # a non-resource request ("/healthz"); then the resource fields are empty


@dataclass(frozen=True)
class Decision:
    """The answer, with the reason that a refusal shows."""

    allowed: bool
    reason: str = field(default="")


class Authenticator(Protocol):
    """Tells who holds a bearer token."""

    async def authenticate(self, token: str) -> User | None:
        """The token's user, or None when the token is not one of ours, or ended."""
        ...


class Authorizer(Protocol):
    """Tells whether a user may."""

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Whether some rule allows it. Never raises for an unknown user: it just denies."""
        ...

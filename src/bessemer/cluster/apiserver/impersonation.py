"""Acting as somebody else (``kubectl --as``): only for who may impersonate, never more than asked.

Source: k8s.io/apiserver pkg/endpoints/filters/impersonation.go.
"""

from __future__ import annotations

from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.cluster.apiserver.request import ApiRequest
from bessemer.kube.access import Attributes, User
from bessemer.kube.errors import BadRequest, Forbidden
from bessemer.kube.permissions import ACCOUNT_PREFIX

_USER, _GROUP = b"impersonate-user", b"impersonate-group"
_UID, _EXTRA = b"impersonate-uid", b"impersonate-extra-"


def resolve(exchange: ApiRequest, user: User, rbac: Rbac) -> User:
    """Whom the request acts as: the bearer, or whom the bearer may impersonate.

    Raises:
        BadRequest: groups without a user; a uid or extra fields.
        Forbidden: the bearer may not.
    """
    headers = exchange.headers
    for header in headers:
        if header == _UID or header.startswith(_EXTRA):
            raise BadRequest(
                f"{header.decode('latin-1')} is not supported: impersonate by user and groups"
            )
    if _USER not in headers and _GROUP not in headers:
        return user
    name = headers.get(_USER, b"").decode("latin-1")
    if not name:
        raise BadRequest("requested groups without impersonating a user: send Impersonate-User")
    groups = [value.decode("latin-1") for key, value in exchange.scope["headers"] if key == _GROUP]
    asked = [_attributes_of(name)]
    asked += [Attributes("impersonate", resource="groups", name=group) for group in groups]
    for attributes in asked:
        decision = rbac.decide(user, attributes)
        if not decision.allowed:
            what = f'{attributes.resource} "{attributes.name}"'
            raise Forbidden(f"{what} is forbidden: {decision.reason}")
    if name.startswith(ACCOUNT_PREFIX) and not groups:
        namespace = name.removeprefix(ACCOUNT_PREFIX).partition(":")[0]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    return User(name, tuple(dict.fromkeys([*groups, "system:authenticated"])))


def _attributes_of(name: str) -> Attributes:
    if name.startswith(ACCOUNT_PREFIX):
        namespace, _, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
        return Attributes(
            "impersonate", resource="serviceaccounts", namespace=namespace, name=account
        )
    return Attributes("impersonate", resource="users", name=name)

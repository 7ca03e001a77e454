"""Who a write says that it comes from, and who may apply.

Source: k8s.io/apiserver pkg/endpoints/handlers/{create,patch}.go, k8s.io/apimachinery
pkg/apis/meta/v1/validation.
"""

from __future__ import annotations

from functools import lru_cache

from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.cluster.apiserver.request import ApiRequest
from bessemer.kinds.kind import Cause, Kind
from bessemer.kube.access import Attributes, User
from bessemer.kube.errors import Forbidden, invalid
from bessemer.kube.requests import Target

_MOST_BYTES = 128  # of a manager's name
_OPTIONS = {
    method: Kind("meta.k8s.io", "v1", f"{verb}Options", f"{verb.lower()}options")
    for method, verb in (("POST", "Create"), ("PUT", "Update"), ("PATCH", "Patch"))
}


def read(exchange: ApiRequest) -> str:
    """The manager of the write: the one it names, else what its User-Agent begins with.

    Empty where it says neither: what such a client makes is not tracked until somebody applies it
    (upstream tracks it as made by "unknown", which helps nobody).

    Raises:
        Invalid: the name is too long, or can't be printed.
    """
    if b"fieldManager" in exchange.scope["query_string"] and (
        named := exchange.query.get("fieldManager")
    ):
        _check(exchange, named)
        return named
    return _of_agent(exchange.headers.get(b"user-agent", b"")[: 4 * _MOST_BYTES])


@lru_cache(maxsize=256)
def _of_agent(agent: bytes) -> str:
    return _printable(agent.partition(b"/")[0].decode("utf-8", "ignore"))


def _printable(text: str) -> str:
    kept = "".join(sign for sign in text if sign.isprintable()).encode()[:_MOST_BYTES]
    return kept.decode("utf-8", "ignore")


def _check(exchange: ApiRequest, name: str) -> None:
    if len(name.encode()) > _MOST_BYTES:
        text = f"Too long: may not be more than {_MOST_BYTES} bytes"
        raise _invalid(exchange, Cause("fieldManager", text, "FieldValueTooLong"))
    for place, sign in enumerate(name):
        if not sign.isprintable():
            text = (
                f'Invalid value: "{name}": invalid character U+{ord(sign):04X} '
                f"(at position {place})"
            )
            raise _invalid(exchange, Cause("fieldManager", text))


def _invalid(exchange: ApiRequest, cause: Cause) -> Exception:
    return invalid(_OPTIONS.get(exchange.method, _OPTIONS["PATCH"]), "", [cause])


def check_applier(exchange: ApiRequest) -> None:
    """Refuse an apply whose manager is not named. Raises Invalid."""
    if not exchange.query.get("fieldManager"):
        text = "Required value: is required for apply patch"
        raise _invalid(exchange, Cause("fieldManager", text, "FieldValueRequired"))


def check_force(exchange: ApiRequest) -> None:
    """Refuse what means something to an apply alone. Raises Invalid."""
    if b"force" in exchange.scope["query_string"] and "force" in exchange.query:
        text = "Forbidden: may not be specified for non-apply patch"
        raise _invalid(exchange, Cause("force", text, "FieldValueForbidden"))


def check_create(rbac: Rbac, user: User, target: Target) -> None:
    """Refuse an apply that would make an object to who may only patch. Raises Forbidden."""
    kind = target.kind
    asked = Attributes(
        "create", kind.group, kind.plural, target.subresource, target.namespace, target.name
    )
    decision = rbac.decide(user, asked)
    if not decision.allowed:
        details = {"name": target.name, "group": kind.group, "kind": kind.plural}
        raise Forbidden(
            f'{kind.resource} "{target.name}" is forbidden: {decision.reason}', details
        )

"""Who may take which route, in Envoy's words. Pure.

Envoy's ``jwt_authn`` proves the token and leaves what it says as metadata. A first RBAC filter
marks the admin's requests, so that the admin token is in the bootstrap alone, which is a Secret.
A second one decides by both, with rules that each route carries; a route without any is the
admin's. Source: Envoy's API v3 (rbac.proto, jwt_authn config.proto, metadata.proto).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bessemer.kinds.kind import Object
from bessemer.kube.permissions import (
    ACCOUNT_PREFIX,
    ACCOUNTS_GROUP,
    ACCOUNTS_OF_PREFIX,
    AUTHENTICATED_GROUP,
    USER,
    Subject,
)

_FILTER = "envoy.filters.http.rbac"
_TYPES = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3"
_JWT = "envoy.filters.http.jwt_authn"
# The name below which jwt_authn leaves a token's payload in the request's metadata.
PAYLOAD = "token"
# The filter that only marks requests writes its findings into their metadata, below names that
# begin so.
_MARK = "admin_"
# Where a route says what it leads to, for the text of a refusal.
_ROUTE = "bessemer.dev"

# The rules of a route that whoever has shown a valid token may take.
OPEN: Object = {
    "typed_per_filter_config": {
        _FILTER: {
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            "disabled": True,
        }
    }
}


def make_filters(admin_token: str) -> list[Object]:
    """The two filters; to be put after ``jwt_authn``."""
    bearer = match_bearer(admin_token)
    marking = {
        "@type": f"{_TYPES}.RBAC",
        # Shadow rules refuse nothing: they only leave behind whether they would have.
        "shadow_rules": _allow([{"header": bearer}]),
        "shadow_rules_stat_prefix": _MARK,
    }
    deciding = {"@type": f"{_TYPES}.RBAC", "rules": _allow([_ADMIN])}
    return [
        {"name": "bessemer.dev/admin", "typed_config": marking},
        {"name": _FILTER, "typed_config": deciding},
    ]


def match_bearer(token: str) -> Object:
    """A header matcher of that very token; the scheme's case is nobody's business (RFC 9110)."""
    regex = f"(?i:bearer) {re.escape(token)}"
    return {"name": "authorization", "string_match": {"safe_regex": {"regex": regex}}}


def make_guard(
    namespace: str, callers: Iterable[Subject], changers: Iterable[Subject] | None = None
) -> Object:
    """What a route of the namespace carries: only its own accounts and the callers may take it.

    Where ``changers`` are given, the route leads to a model, and the calls that load and unload it
    are theirs alone.

    Subjects that no token at the gateway can prove let nobody in: users who are no service
    accounts, and groups other than those of all accounts, or of all accounts of a namespace.
    """
    own = _begins(f"{ACCOUNT_PREFIX}{namespace}:")
    everything = {"any": True}
    asking = everything if changers is None else {"not_rule": _CHANGING}
    named = _match_all(changers or ())
    policies = {
        "callers": _policy(asking, [_says([own, *_match_all(callers)])]),
        "changers": _policy(everything, [_ADMIN, *([_says(named)] if named else ())]),
    }
    rules = {"action": "ALLOW", "policies": policies}
    return {
        "metadata": {"filter_metadata": {_ROUTE: {"namespace": namespace}}},
        "typed_per_filter_config": {
            _FILTER: {"@type": f"{_TYPES}.RBACPerRoute", "rbac": {"rules": rules}}
        },
    }


# What comes escaped is taken for it too: behind the gateway it may be read as anything.
_CHANGES = "/v2/repository/models/"
_CHANGING: Object = {
    "url_path": {"path": {"safe_regex": {"regex": f".*({re.escape(_CHANGES)}|%).*"}}}
}


def make_refusal() -> Object:
    """How Envoy itself answers: in JSON, as the model servers do (``local_reply_config``).

    A caller whom a route's rules refuse is told what would let it pass.
    """
    caller = f"%DYNAMIC_METADATA({_JWT}:{PAYLOAD}:sub)%"
    namespace = f"%METADATA(ROUTE:{_ROUTE}:namespace)%"
    text = (
        f'the models of namespace "{namespace}" answer its own service accounts and whoever may '
        f'get inferenceservices.serving.kserve.io there; got "{caller}"; a RoleBinding to '
        f'ClusterRole "view" in namespace "{namespace}" lets it pass'
    )
    changing = (
        "only who may update inferenceservices.serving.kserve.io in namespace "
        f'"{namespace}" loads and unloads its models; got "{caller}"; a RoleBinding to '
        f'ClusterRole "edit" in namespace "{namespace}" lets it pass'
    )
    unproven = (
        "the gateway needs the header 'Authorization: Bearer TOKEN' with a token of this home "
        "(%LOCAL_REPLY_BODY%)"
    )
    forbidden = {"op": "EQ", "value": {"default_value": 403, "runtime_key": "gateway.forbidden"}}
    proven = {
        "matcher": {
            "filter": _JWT,
            "path": [{"key": PAYLOAD}, {"key": "sub"}],
            "value": {"present_match": True},
        },
        "match_if_key_not_found": False,
    }
    refused: list[Object] = [
        {"status_code_filter": {"comparison": forbidden}},
        {"metadata_filter": proven},
    ]
    path = {"name": ":path", "string_match": {"contains": _CHANGES}}
    unauthorized = {"op": "EQ", "value": {"default_value": 401, "runtime_key": "gateway.unproven"}}
    failed = {"op": "GE", "value": {"default_value": 400, "runtime_key": "gateway.failed"}}
    return {
        # The first that fits decides.
        "mappers": [
            _tell(changing, *refused, {"header_filter": {"header": path}}),
            _tell(text, *refused),
            _tell(unproven, {"status_code_filter": {"comparison": unauthorized}}),
            _tell("%LOCAL_REPLY_BODY%", {"status_code_filter": {"comparison": failed}}),
        ]
    }


def _tell(text: str, *filters: Object) -> Object:
    together = {"and_filter": {"filters": [*filters]}} if len(filters) > 1 else filters[0]
    return {"filter": together, "body_format_override": {"json_format": {"error": text}}}


def _allow(principals: list[Object]) -> Object:
    return {"action": "ALLOW", "policies": {"callers": _policy({"any": True}, principals)}}


def _policy(permission: Object, principals: list[Object]) -> Object:
    return {"permissions": [permission], "principals": principals}


def _left_behind(by: str, path: list[str], value: Object) -> Object:
    """A principal of whose request a filter left that in its metadata."""
    keys = [{"key": key} for key in path]
    return {"sourced_metadata": {"metadata_matcher": {"filter": by, "path": keys, "value": value}}}


_ADMIN = _left_behind(
    _FILTER, [f"{_MARK}shadow_engine_result"], {"string_match": {"exact": "allowed"}}
)


def _says(users: list[Object]) -> Object:
    """A principal whose token names one of those users."""
    value = {"or_match": {"value_matchers": users}} if len(users) > 1 else users[0]
    return _left_behind(_JWT, [PAYLOAD, "sub"], value)


def _begins(prefix: str) -> Object:
    return {"string_match": {"prefix": prefix}}


def _match_all(subjects: Iterable[Subject]) -> list[Object]:
    return [found for subject in sorted(subjects) if (found := _match(subject)) is not None]


def _match(subject: Subject) -> Object | None:
    """Which users' names make them the subject; None: nobody's does."""
    kind, name = subject
    if kind == USER:
        return {"string_match": {"exact": name}} if name.startswith(ACCOUNT_PREFIX) else None
    if name == AUTHENTICATED_GROUP:
        return {"present_match": True}
    if name == ACCOUNTS_GROUP:
        return _begins(ACCOUNT_PREFIX)
    if name.startswith(ACCOUNTS_OF_PREFIX):
        return _begins(f"{ACCOUNT_PREFIX}{name.removeprefix(ACCOUNTS_OF_PREFIX)}:")
    return None

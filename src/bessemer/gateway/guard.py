"""Who may take which route, in Envoy's words. Pure.

Envoy's ``jwt_authn`` proves the token and leaves what it says as metadata. A first RBAC filter
marks the admin's requests, so that the admin token is in the bootstrap alone, which is a Secret.
A second one decides by both, with rules that each route carries; a route without any is the
admin's. Source: Envoy's API v3 (rbac.proto, jwt_authn config.proto, metadata.proto).
"""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.kube.permissions import (
    ACCOUNT_PREFIX,
    ACCOUNTS_GROUP,
    ACCOUNTS_OF_PREFIX,
    AUTHENTICATED_GROUP,
    USER,
    Subject,
)
from bessemer.resources.kind import Object

_FILTER = "envoy.filters.http.rbac"
_TYPES = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3"
_JWT = "envoy.filters.http.jwt_authn"
# Where jwt_authn puts a token's payload.
PAYLOAD = "token"
# What the marking filter's findings begin with.
_MARK = "admin_"
# Where a route says what it leads to, for the text of a refusal.
_ROUTE = "bessemer.dev"

# Of a route that everyone may take who has come so far.
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
    bearer = {"name": "authorization", "string_match": {"exact": f"Bearer {admin_token}"}}
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


def make_guard(namespace: str, subjects: Iterable[Subject]) -> Object:
    """What a route of the namespace carries: only its own accounts and the subjects may take it.

    Users that are no service accounts, and groups that are not all accounts', are nobody's: no
    token proves them.
    """
    own = _begins(f"{ACCOUNT_PREFIX}{namespace}:")
    others = [found for subject in sorted(subjects) if (found := _match(subject)) is not None]
    rules = _allow([_ADMIN, _says([own, *others])])
    return {
        "metadata": {"filter_metadata": {_ROUTE: {"namespace": namespace}}},
        "typed_per_filter_config": {
            _FILTER: {"@type": f"{_TYPES}.RBACPerRoute", "rbac": {"rules": rules}}
        },
    }


def make_refusal() -> Object:
    """What a caller is told whom a route's rules refuse (``local_reply_config``)."""
    caller = f"%DYNAMIC_METADATA({_JWT}:{PAYLOAD}:sub)%"
    namespace = f"%METADATA(ROUTE:{_ROUTE}:namespace)%"
    text = (
        f'the models of namespace "{namespace}" answer its own service accounts and whoever may '
        f'get inferenceservices.serving.kserve.io there; got "{caller}"; a RoleBinding to '
        f'ClusterRole "view" in namespace "{namespace}" lets it pass'
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
    return {
        "mappers": [
            {
                "filter": {
                    "and_filter": {
                        "filters": [
                            {"status_code_filter": {"comparison": forbidden}},
                            {"metadata_filter": proven},
                        ]
                    }
                },
                "body_format_override": {"json_format": {"error": text}},
            }
        ]
    }


def _allow(principals: list[Object]) -> Object:
    policy = {"permissions": [{"any": True}], "principals": principals}
    return {"action": "ALLOW", "policies": {"callers": policy}}


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

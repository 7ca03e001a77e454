"""Questions about identity and rights: token requests and the review kinds.

Source: k8s.io/api authentication/v1, authorization/v1; pkg/registry/authorization.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from bessemer.base.clock import format_time
from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.cluster.apiserver.request import Answer, ApiRequest, answer_json
from bessemer.cluster.apiserver.routing import Route
from bessemer.cluster.apiserver.tokens import (
    AUDIENCE,
    DEFAULT_SECONDS,
    MOST_AUDIENCES,
    BoundPod,
    TokenIssuer,
    Tokens,
)
from bessemer.kinds import rules, schemas
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.schemas import Fault
from bessemer.kube.access import Attributes, User
from bessemer.kube.errors import BadRequest, NotFound, invalid

TOKEN_REQUEST = Kind("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")
_MIN_SECONDS, _MAX_SECONDS = 600, 1 << 32


class Reviews:
    """Answers them; nothing is stored."""

    def __init__(self, tokens: Tokens, issuer: TokenIssuer, rbac: Rbac) -> None:
        self._tokens = tokens
        self._issuer = issuer
        self._rbac = rbac
        self._by_resource: dict[str, Callable[[ApiRequest, Object, Route], Awaitable[Object]]] = {
            "selfsubjectreviews.authentication.k8s.io": self._self_review,
            "tokenreviews.authentication.k8s.io": self._token_review,
            "selfsubjectaccessreviews.authorization.k8s.io": self._self_access,
            "subjectaccessreviews.authorization.k8s.io": self._access,
            "localsubjectaccessreviews.authorization.k8s.io": self._access,
            "selfsubjectrulesreviews.authorization.k8s.io": self._self_rules,
        }

    def knows(self, route: Route) -> bool:
        """Whether the route is a review's."""
        return route.resource in self._by_resource

    async def serve(self, exchange: ApiRequest, route: Route) -> Answer:
        """Answer a review."""
        # A right in one namespace is none to ask about others: only the local review is in one.
        if exchange.method != "POST" or route.name or _is_local(route) != bool(route.namespace):
            raise NotFound("the server could not find the requested resource", {})
        obj = await exchange.read_object()
        if type_name := _TYPES.get(route.plural):
            _check(type_name, obj)
        spec = obj.get("spec")
        if spec is not None and not isinstance(spec, dict):
            raise BadRequest("spec must be an object")
        status = await self._by_resource[route.resource](exchange, spec or {}, route)
        return answer_json({**obj, "metadata": obj.get("metadata") or {}, "status": status}, 201)

    async def _self_review(self, exchange: ApiRequest, _spec: Object, _route: Route) -> Object:
        return {"userInfo": _user_info(exchange.user)}

    async def _token_review(self, _exchange: ApiRequest, spec: Object, _route: Route) -> Object:
        audiences = _audiences(spec)
        for audience in audiences:
            user = self._tokens.identify(str(spec.get("token", "")), str(audience))
            if user is not None:
                return {
                    "authenticated": True,
                    "user": _user_info(user),
                    "audiences": [audience],
                }
        return {
            "authenticated": False,
            "user": {},
            "error": "[invalid bearer token, Token has been invalidated]",
        }

    async def _self_access(self, exchange: ApiRequest, spec: Object, _route: Route) -> Object:
        return self._decide(exchange.user, spec)

    async def _access(self, _exchange: ApiRequest, spec: Object, route: Route) -> Object:
        inside = (spec.get("resourceAttributes") or {}).get("namespace", "")
        if _is_local(route) and inside != route.namespace:
            raise BadRequest(
                f"spec.resourceAttributes.namespace: Invalid value: {inside!r}: must match "
                f"metadata.namespace, which is {route.namespace!r}"
            )
        user = User(
            str(spec.get("user", "")),
            tuple(str(group) for group in spec.get("groups") or ()),
            str(spec.get("uid", "")),
        )
        if not user.name and not user.groups:
            raise BadRequest(
                "spec.user: Invalid value: at least one of user or group must be specified"
            )
        return self._decide(user, spec)

    def _decide(self, user: User, spec: Object) -> Object:
        resource = spec.get("resourceAttributes")
        path = spec.get("nonResourceAttributes")
        if (resource is None) == (path is None):
            raise BadRequest(
                "spec: exactly one of nonResourceAttributes or resourceAttributes must be "
                "specified"
            )
        found = resource or path or {}
        names = ("verb", "group", "resource", "subresource", "namespace", "name", "path")
        given = {name: str(found[name]) for name in names if found.get(name)}
        decision = self._rbac.decide(user, Attributes(**{"verb": "", **given}))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    async def _self_rules(self, exchange: ApiRequest, spec: Object, _route: Route) -> Object:
        held = list(self._rbac.rules_for(exchange.user, str(spec.get("namespace", ""))))
        if "system:masters" in exchange.user.groups:
            held = [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        return {
            "resourceRules": [rule for rule in held if rule.get("resources")],
            "nonResourceRules": [rule for rule in held if rule.get("nonResourceURLs")],
            "incomplete": False,
        }

    async def request_token(self, exchange: ApiRequest, route: Route) -> Answer:
        """``serviceaccounts/<name>/token``."""
        obj = await exchange.read_object()
        _check("authentication.v1.TokenRequest", obj)
        spec = obj.get("spec") or {}
        seconds = spec.get("expirationSeconds") or DEFAULT_SECONDS
        if not isinstance(seconds, int) or not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
            detail = "may not specify a duration less than 10 minutes or more than 2^32 seconds"
            cause = rules.bad("spec.expirationSeconds", seconds, detail)
            raise invalid(TOKEN_REQUEST, "", [cause])
        bound = spec.get("boundObjectRef") or {}
        if bound and bound.get("kind") != "Pod":
            raise invalid(
                TOKEN_REQUEST,
                "",
                [rules.unsupported("spec.boundObjectRef.kind", bound.get("kind"), ["Pod"])],
            )
        issued = self._issuer.issue_for(
            route.namespace,
            route.name,
            pod=_bound_pod(bound),
            seconds=seconds,
            audiences=tuple(_audiences(spec)),
        )
        ends = format_time(datetime.fromtimestamp(issued.expires, UTC))
        status = {"token": issued.token, "expirationTimestamp": ends}
        head = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        metadata = {"name": route.name, "namespace": route.namespace}
        filled = {
            **spec,
            "expirationSeconds": seconds,
            "audiences": spec.get("audiences") or [AUDIENCE],
        }
        return answer_json({**head, "metadata": metadata, "spec": filled, "status": status}, 201)


def _bound_pod(reference: Object) -> BoundPod | None:
    """The pod that a token's ``boundObjectRef`` names; None where it names none."""
    name = str(reference.get("name", ""))
    return BoundPod(name, str(reference.get("uid", ""))) if name else None


_TYPES = {
    "selfsubjectreviews": "authentication.v1.SelfSubjectReview",
    "tokenreviews": "authentication.v1.TokenReview",
    "subjectaccessreviews": "authorization.v1.SubjectAccessReview",
    "localsubjectaccessreviews": "authorization.v1.SubjectAccessReview",
    "selfsubjectaccessreviews": "authorization.v1.SelfSubjectAccessReview",
}


def _audiences(spec: Object) -> list[Any]:
    found: list[Any] = spec.get("audiences") or [AUDIENCE]
    if len(found) > MOST_AUDIENCES:
        raise BadRequest(
            f"spec.audiences: Too many: {len(found)}: must have at most {MOST_AUDIENCES} items"
        )
    return found


def _is_local(route: Route) -> bool:
    return route.plural == "localsubjectaccessreviews"


def _check(type_name: str, obj: Object) -> None:
    """Refuse values of another type than the field's."""
    for finding in schemas.checker(type_name)(obj) or ():
        if finding.fault in (Fault.MISMATCH, Fault.MALFORMED):
            raise BadRequest(f"{finding.path} can't be read: it is of another type")


def _user_info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    return info

"""Bearer tokens: the admin's, and JSON web tokens of service accounts, signed by the home's key.

A service account's token is bound to its account and, if it was made for one, to its pod: when
either is gone (or is another of the same name), the token is nobody's.
Source: RFC 7519, RFC 8037; k8s.io/kubernetes pkg/serviceaccount.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from bessemer.base import ids
from bessemer.base.clock import Clock
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.access import ADMIN, User
from bessemer.kube.errors import BadRequest, conflict, not_found
from bessemer.kube.permissions import ACCOUNT_PREFIX

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "https://kubernetes.default.svc"
DEFAULT_SECONDS = 3600
# Verified tokens that are remembered: a signature costs more than the rest of a request.
_REMEMBERED = 4096

Lookup = Callable[[Kind, str, str], Object | None]


class Bound(NamedTuple):
    """What a token says, once its signature is verified."""

    namespace: str
    account: str
    account_uid: str
    pod: str
    pod_uid: str
    expires: int
    audiences: tuple[str, ...]

    @property
    def user(self) -> User:
        """The identity that the token proves."""
        groups = (
            "system:serviceaccounts",
            f"system:serviceaccounts:{self.namespace}",
            "system:authenticated",
        )
        return User(f"{ACCOUNT_PREFIX}{self.namespace}:{self.account}", groups, self.account_uid)


# Characters; what is longer is none of ours, and would take long to be read.
_MOST_TOKEN = 16 * 1024
#: Audiences that one token, or one question about a token, may name.
MOST_AUDIENCES = 32


@dataclass(frozen=True)
class Issued:
    """A new token and when it ends."""

    token: str
    expires: int  # seconds since 1970


class BoundPod(NamedTuple):
    """The pod whose end is to be the token's end, too."""

    name: str
    uid: str = ""  # empty: whichever pod has that name now


class TokenIssuer:
    """Makes tokens of service accounts.

    Args:
        lookup: reads stored objects.
    """

    def __init__(self, key: ed25519.Ed25519PrivateKey, lookup: Lookup, clock: Clock) -> None:
        self._key = key
        self._lookup = lookup
        self._clock = clock

    def issue(
        self,
        namespace: str,
        service_account: str,
        *,
        pod_name: str = "",
        pod_uid: str = "",
        seconds: int = DEFAULT_SECONDS,
    ) -> str:
        """A token of the account, bound to the pod if one is named.

        Raises:
            NotFound, Conflict, BadRequest: no such account or pod, another pod of that name, or
                one that runs as another account.
        """
        return self.issue_for(
            namespace,
            service_account,
            pod=BoundPod(pod_name, pod_uid) if pod_name else None,
            seconds=seconds,
        ).token

    def issue_for(
        self,
        namespace: str,
        service_account: str,
        *,
        pod: BoundPod | None = None,
        seconds: int = DEFAULT_SECONDS,
        audiences: tuple[str, ...] = (AUDIENCE,),
    ) -> Issued:
        """As ``issue``, for chosen audiences, and with the time that the token ends."""
        account = self._lookup(SERVICE_ACCOUNT, namespace, service_account)
        if account is None:
            raise not_found(SERVICE_ACCOUNT, service_account)
        now = int(self._clock.now().timestamp())
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": service_account, "uid": meta.uid(account)},
        }
        if pod is not None:
            uid = self._find_pod(namespace, service_account, pod)
            private["pod"] = {"name": pod.name, "uid": uid}
        claims = {
            "iss": ISSUER,
            "aud": list(audiences),
            "sub": f"{ACCOUNT_PREFIX}{namespace}:{service_account}",
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": ids.make_uid(),
            "kubernetes.io": private,
        }
        head = _encode(orjson.dumps({"alg": "EdDSA", "typ": "JWT"}))
        text = f"{head}.{_encode(orjson.dumps(claims))}"
        return Issued(f"{text}.{_encode(self._key.sign(text.encode()))}", now + seconds)

    def _find_pod(self, namespace: str, account: str, wanted: BoundPod) -> str:
        name, uid = wanted
        pod = self._lookup(POD, namespace, name)
        if pod is None:
            raise not_found(POD, name)
        if account != meta.dig(pod, "spec.serviceAccountName"):
            raise BadRequest(
                f'cannot bind token for serviceaccount "{account}" to pod running with different '
                "serviceaccount name."
            )
        if uid and uid != meta.uid(pod):
            raise conflict(
                POD,
                name,
                f"the UID in the bound object reference ({uid}) does not "
                f"match the UID in record ({meta.uid(pod)})",
            )
        return meta.uid(pod)


class Tokens:
    """Tells who holds a token: fulfils ``kube.access.Authenticator``.

    Args:
        admin_token: the bearer of it is ``kube.access.ADMIN``.
        lookup: reads stored objects.
    """

    def __init__(
        self, admin_token: str, key: ed25519.Ed25519PublicKey, lookup: Lookup, clock: Clock
    ) -> None:
        self._admin = admin_token.encode()
        self._key = key
        self._lookup = lookup
        self._clock = clock
        self._verified: dict[str, tuple[Bound, User]] = {}

    async def authenticate(self, token: str) -> User | None:
        """The token's user, or None."""
        return self.identify(token)

    def identify(self, token: str, audience: str = AUDIENCE) -> User | None:
        """As ``authenticate``, at once: what the hot path calls."""
        if len(token) > _MOST_TOKEN:
            return None
        if hmac.compare_digest(token.encode(), self._admin):
            return ADMIN
        known = self._verified.get(token)
        if known is None:
            bound = self._verify(token)
            if bound is None:
                return None
            known = (bound, bound.user)
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[token] = known
        bound, user = known
        if not self._holds(bound) or audience not in bound.audiences:
            return None
        return user

    def _verify(self, token: str) -> Bound | None:
        head, _, signature = token.rpartition(".")
        try:
            self._key.verify(_decode(signature), head.encode())
            claims = orjson.loads(_decode(head.partition(".")[2]))
            return _read(claims)
        except (InvalidSignature, ValueError, KeyError, TypeError):
            return None

    def _holds(self, bound: Bound) -> bool:
        if self._clock.now().timestamp() >= bound.expires:
            return False
        account = self._lookup(SERVICE_ACCOUNT, bound.namespace, bound.account)
        if account is None or meta.uid(account) != bound.account_uid:
            return False
        if not bound.pod:
            return True
        pod = self._lookup(POD, bound.namespace, bound.pod)
        return pod is not None and meta.uid(pod) == bound.pod_uid


def _read(claims: Any) -> Bound:
    if claims["iss"] != ISSUER:
        raise ValueError("another issuer's token")
    private = claims["kubernetes.io"]
    account = private["serviceaccount"]
    pod = private.get("pod") or {}
    return Bound(
        private["namespace"],
        account["name"],
        account["uid"],
        cast(str, pod.get("name", "")),
        cast(str, pod.get("uid", "")),
        int(claims["exp"]),
        tuple(claims["aud"]),
    )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("no base64") from error

"""Tokens of service accounts: whose they are, until when, and what no change of them gives."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from bessemer.cluster.apiserver.tokens import TokenIssuer, Tokens
from bessemer.kinds import meta
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.errors import Conflict, NotFound

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
KEY = ed25519.Ed25519PrivateKey.generate()


class Clock:
    """Shows the time that a test sets."""

    def __init__(self):
        self.moment = START

    def now(self):
        return self.moment

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        raise AssertionError(f"nothing here waits, but {seconds} s were asked for")


class Desk:
    """One account and one pod, who issues tokens of them, and who reads these."""

    def __init__(self):
        self.clock = Clock()
        self.objects = {}
        for kind, name in ((SERVICE_ACCOUNT, "bob"), (POD, "p")):
            self.put(kind, name, f"uid of {name}")
        self.issuer = self.issuer_with(KEY)
        self.tokens = Tokens("the admin's", KEY.public_key(), self._lookup, self.clock)

    def put(self, kind, name, uid):
        obj = meta.new(kind, name, "ours", spec={"serviceAccountName": "bob"})
        obj["metadata"]["uid"] = uid
        self.objects[kind.kind, "ours", name] = obj

    def issuer_with(self, key):
        return TokenIssuer(key, self._lookup, self.clock)

    def name(self, token):
        """Of whom it is; None if nobody's."""
        user = self.tokens.identify(token)
        return user and user.name

    def _lookup(self, kind, namespace, name):
        return self.objects.get((kind.kind, namespace, name))


@pytest.fixture
def desk():
    return Desk()


BOB = "system:serviceaccount:ours:bob"


def changed(token, **claims):
    """The token with other claims under the old signature."""
    head, body, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    text = json.dumps({**said, **claims}).encode()
    return f"{head}.{base64.urlsafe_b64encode(text).decode().rstrip('=')}.{signature}"


def test_a_token_ends_at_its_time_though_it_was_good_before(desk):
    issued = desk.issuer.issue_for("ours", "bob", seconds=600)
    assert issued.expires == int(START.timestamp()) + 600
    for seconds, name in ((0, BOB), (599, BOB), (600, None), (10_000, None)):
        desk.clock.moment = START + timedelta(seconds=seconds)
        assert desk.name(issued.token) == name


def test_no_claim_can_be_changed(desk):
    token = desk.issuer.issue("ours", "bob")
    assert desk.name(token) == BOB

    assert desk.name(changed(token)) is None  # the same claims in other bytes
    assert desk.name(changed(token, exp=2**40)) is None
    head, body, _ = token.split(".")
    assert desk.name(f"{head}.{body}.") is None


def test_another_key_proves_nobody(desk):
    stranger = desk.issuer_with(ed25519.Ed25519PrivateKey.generate())

    assert desk.name(stranger.issue("ours", "bob")) is None


def test_a_token_is_for_its_audience_alone(desk):
    token = desk.issuer.issue_for("ours", "bob", audiences=("vault",)).token

    assert desk.name(token) is None
    assert desk.tokens.identify(token, "vault").name == BOB


def test_a_token_of_a_pod_is_not_its_namesakes(desk):
    token = desk.issuer.issue("ours", "bob", pod_name="p", pod_uid="uid of p")
    assert desk.name(token) == BOB

    desk.put(POD, "p", "uid of the next p")

    assert desk.name(token) is None


def test_tokens_are_issued_for_what_is_there(desk):
    with pytest.raises(NotFound, match='"nobody" not found'):
        desk.issuer.issue("ours", "nobody")
    with pytest.raises(NotFound, match='pods "gone" not found'):
        desk.issuer.issue("ours", "bob", pod_name="gone")
    with pytest.raises(Conflict, match="does not match the UID in record"):
        desk.issuer.issue("ours", "bob", pod_name="p", pod_uid="of the one before")

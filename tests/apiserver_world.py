"""An API server over a real store, asked through its ASGI door: for tests of the face."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from bessemer.base.clock import SystemClock
from bessemer.cluster.admission.chain import Admission
from bessemer.cluster.admission.services import Addresses
from bessemer.cluster.apiserver import certificates
from bessemer.cluster.apiserver.app import ApiServerConfig, build_app
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.rbac import KINDS, Rbac
from bessemer.cluster.apiserver.tokens import TokenIssuer, Tokens
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.service import SERVICE
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.informer import Informers
from bessemer.kube.inprocess import InProcessClient

NAMESPACES = ("default", "other", "bessemer-system")


@dataclass
class Reply:
    status: int
    headers: dict[str, list[str]]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json["message"]


class World:
    """The server, its admin's token, and a way to ask."""

    def __init__(self, folder, **extra):
        self.clock = SystemClock()
        self.keys = certificates.ensure(folder / "keys", ["127.7.0.1"], self.clock)
        self.store = Store(folder / "objects.db")
        addresses = Addresses("127.7.0.0/17", self._services)
        admission = Admission(self._lookup, addresses)
        self.machine = Machine(self.store, self.clock, admission)
        self.client = InProcessClient(self.machine)
        self.informers = Informers(self.client, self.clock)
        self.rbac = Rbac()
        for kind in KINDS:
            self.informers.of(kind).subscribe(self.rbac.observe)
        public = self.keys.signing_key.public_key()
        self.tokens = Tokens(self.keys.admin_token, public, self._lookup, self.clock)
        self.issuer = TokenIssuer(self.keys.signing_key, self._lookup, self.clock)
        self.app = build_app(
            ApiServerConfig(self.machine, self.rbac, self.tokens, self.issuer, self.clock, **extra)
        )

    def _services(self):
        return self.machine.lookup_all(SERVICE)

    def _lookup(self, kind, namespace, name):
        return self.machine.lookup(kind, namespace, name)

    async def prepare(self):
        for name in NAMESPACES:
            await self.client.create(NAMESPACE, meta.new(NAMESPACE, name))
            await self.client.create(SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, "default", name))

    async def account(self, name, rules=(), namespace="default"):
        """A service account with a role of those rules; gives its token."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        await self.ask("POST", accounts, {"metadata": {"name": name}})
        group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        if rules:
            role = {"metadata": {"name": name}, "rules": list(rules)}
            assert (await self.ask("POST", f"{group}/roles", role)).status == 201
            binding = {
                "metadata": {"name": name},
                "roleRef": {"kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            assert (await self.ask("POST", f"{group}/rolebindings", binding)).status == 201
        return self.issuer.issue(namespace, name)

    async def ask(self, method, path, body=None, *, token=None, headers=()):
        """One request; the admin's unless a token (or "" for none) is given."""
        if body is None or isinstance(body, bytes):
            data = body or b""
        else:
            data = json.dumps(body).encode()
        token = self.keys.admin_token if token is None else token
        lines = {"content-type": "application/json", **dict(headers)}
        if token:
            lines["authorization"] = f"Bearer {token}"
        return await call(self.app, method, path, data, lines)


async def call(app, method, path, data=b"", headers=None):
    """One ASGI exchange."""
    parts = urlsplit(path)
    scope = {
        "type": "http",
        "method": method,
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    messages = [{"type": "http.request", "body": data, "more_body": False}]
    sent = []

    async def receive():
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.decode(), []).append(value.decode())
    return Reply(sent[0]["status"], found, b"".join(m["body"] for m in sent[1:]))


@contextlib.asynccontextmanager
async def running(folder, **extra):
    """A prepared world whose RBAC index follows its store."""
    world = World(folder, **extra)
    following = asyncio.ensure_future(world.informers.run())
    try:
        await world.prepare()
        yield world
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await world.store.close()

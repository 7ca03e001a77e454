"""The platform on top of a cluster: pipelines, serving, gateway, pages."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import URL
from starlette.types import ASGIApp, Receive, Scope, Send

from bessemer.app.capabilities.capability import Context, Face, Served
from bessemer.app.capabilities.catalog import CAPABILITIES
from bessemer.app.embedded import Core
from bessemer.app.images import IMAGES
from bessemer.artifacts.claim import ClaimStore
from bessemer.artifacts.logs import DiskLogs
from bessemer.base import ids
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.apiserver.certificates import Keys
from bessemer.cluster.apiserver.request import without_identity
from bessemer.cluster.apiserver.tokens import AUDIENCE, ISSUER
from bessemer.cluster.store.reserve import Reserve
from bessemer.dashboard.pages import Pages, Sources
from bessemer.dashboard.sessions import Sessions
from bessemer.database.database import Database
from bessemer.gateway.bootstrap import Authentication, GatewayOptions, make_jwks
from bessemer.kube.access import ADMIN
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.leases import Replica
from bessemer.pipelines.steplogs import PodStepLogs
from bessemer.web.guard import Guard

# In the home: copies of logs whose pods are gone, out of the reach of pods.
STEP_LOGS = "logs"
# Models answer to <name>-<namespace>.<domain> too.
DOMAIN = "localhost"
# Names, parted by commas, by which browsers may ask for the pages beside the loopback's.
HOSTS = "BESSEMER_HOSTS"


@dataclass(frozen=True)
class PlatformOptions:
    """Where the platform is, and whom its gateway lets pass."""

    home: Home
    clock: Clock
    gateway: GatewayOptions
    admin_token: str


class GatewayAddresses(NamedTuple):
    """Where the gateway listens, and for whom."""

    host: str
    port: int
    services: str  # the network of the Services that it answers for: "127.7.0.0/17"


def set_up(home: Home, clock: Clock, keys: Keys, addresses: GatewayAddresses) -> PlatformOptions:
    """The setting of a platform whose gateway has those addresses and trusts the home's keys."""
    jwks = make_jwks(keys.signing_key.public_key().public_bytes_raw())
    authentication = Authentication(keys.admin_token, jwks, ISSUER, AUDIENCE)
    host, port, services = addresses
    settings = GatewayOptions(host, port, authentication, services=services)
    return PlatformOptions(home, clock, settings, keys.admin_token)


async def open_platform(setting: PlatformOptions, core: Core) -> Platform:
    """Open what has a long history, then join the rooms."""
    # Not written as text, where some characters of a path have a meaning of their own.
    url = URL.create("sqlite", database=str(setting.home.history))
    database = Database(url, Reserve(setting.home.reserve).release)
    await database.start()
    return Platform(setting, core, database)


class Platform:
    """The rooms above the cluster."""

    def __init__(self, setting: PlatformOptions, core: Core, database: Database) -> None:
        self._setting = setting
        self._home = setting.home
        self._clock = setting.clock
        self._core = core
        self._database = database
        self._guard = Guard(core.tokens, core.rbac)
        self._sessions = Sessions(setting.clock)
        self._artifacts = ClaimStore(core.client, setting.clock, setting.home.volumes)
        steps = PodStepLogs(core.client, DiskLogs(self._home.root / STEP_LOGS))
        context = Context(
            client=core.client,
            informers=core.informers,
            clock=self._clock,
            database=self._database,
            guard=self._guard,
            replica=Replica(ids.make_uid(), is_alone=True),  # the home's lock is held
            step_logs=steps,
            artifacts=self._artifacts,
            refuse_image=IMAGES.refusal,
            gateway=self._setting.gateway,
            domain=DOMAIN,
        )
        self._opened = [capability.open(context) for capability in CAPABILITIES]
        sources = Sources(SqlHistory(self._database), core.client, steps, self._artifacts)
        pages = Pages(sources, self._guard, self._clock, self._sessions, _hosts())
        self.pages = Split([each.face for each in self._served()], pages)

    def _served(self) -> Iterator[Served]:
        return (each for opened in self._opened for each in opened.served)

    def issue_code(self) -> str:
        """What signs a browser in to the pages as the admin, once."""
        return self._sessions.issue_code(ADMIN, self._setting.admin_token)

    def routes(self) -> Mapping[str, ASGIApp]:
        """The faces on the API server's own port, by prefix."""
        return {prefix: each.face for each in self._served() for prefix in each.prefixes}

    def services(self) -> Mapping[tuple[str, str], ASGIApp]:
        """The faces that the API server's proxy leads to, by the Service's namespace and name."""
        return {each.service: each.face for each in self._served()}

    def coroutines(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What has to run for ever, by name."""
        for opened in self._opened:
            for name, run in opened.tasks.items():
                yield name, run()

    async def close(self) -> None:
        """Let go of the database."""
        await self._database.close()


def _hosts() -> list[str]:
    return [name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip()]


class Split:
    """P+1: the capabilities' faces, and pages everywhere else."""

    def __init__(self, faces: Sequence[Face], pages: ASGIApp) -> None:
        self._faces = faces
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to whom its path belongs."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        scope = without_identity(scope)
        app: ASGIApp = self._pages
        for face in self._faces:
            if face.matches(scope["path"]):
                app = face
        await app(scope, receive, send)

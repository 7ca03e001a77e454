"""The platform on top of a cluster: pipelines, serving, gateway, pages."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import URL
from starlette.types import ASGIApp, Receive, Scope, Send

from bessemer.app import bootstrap
from bessemer.app.embedded import Core
from bessemer.app.images import IMAGES
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.apiserver.certificates import Keys
from bessemer.cluster.apiserver.request import without_identity
from bessemer.cluster.apiserver.tokens import AUDIENCE, ISSUER
from bessemer.cluster.kubelet.logs.logfiles import LogFiles
from bessemer.cluster.kubelet.logs.port import LogOptions
from bessemer.dashboard.pages import Pages, Sources
from bessemer.dashboard.sessions import Sessions
from bessemer.database.database import Database
from bessemer.gateway import reconciler as gateway
from bessemer.gateway.bootstrap import Authentication, GatewayOptions, make_jwks
from bessemer.kinds.kind import Object
from bessemer.kube.access import ADMIN
from bessemer.pipelines.api import Cluster, Guard, PipelinesApi, build_api
from bessemer.pipelines.engine import Engine
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.pods import CLAIM
from bessemer.pipelines.reconciler import EngineOptions
from bessemer.pipelines.steplogs import PodStepLogs
from bessemer.pipelines.trial import Trial
from bessemer.serving import reconciler as serving
from bessemer.serving.manifests import Address
from bessemer.serving.storage import volumes_of

# In the home: copies of logs whose pods are gone, out of the reach of pods.
STEP_LOGS = "logs"
# Models answer to <name>-<namespace>.<domain> too.
DOMAIN = "localhost"
# Names, parted by commas, by which browsers may ask for the pages beside the loopback's.
HOSTS = "BESSEMER_HOSTS"
# KFP's paths on the API server's own port.
_KFP_PREFIXES = ("/apis/v2beta1/", "/apis/v1alpha1/runs", "/pipeline/apis/")


@dataclass(frozen=True)
class PlatformOptions:
    """Where the platform is, and whom its gateway lets pass."""

    home: Home
    clock: Clock
    gateway: GatewayOptions
    admin_token: str

    @property
    def url(self) -> str:
        """The gateway's address, for clients on this machine."""
        return f"http://{self.gateway.host}:{self.gateway.port}"


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
    database = Database(URL.create("sqlite", database=str(setting.home.history)))
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
        self._engine: Engine
        self.pipelines: PipelinesApi
        self.pages: ASGIApp

    def open_faces(self, logs: LogFiles) -> None:
        """Make the apps; logs come from the node."""

        def read_pod(pod: Object, follow: bool, tail: int | None) -> AsyncIterator[bytes]:  # noqa: FBT001 - the port's signature
            return logs.read(pod, LogOptions(follow=follow, tail_lines=tail))

        core, history = self._core, SqlHistory(self._database)
        steps = PodStepLogs(core.client, read_pod, self._home.root / STEP_LOGS)
        settings = EngineOptions(lambda namespace: self._home.claim(namespace, CLAIM))
        self._engine = Engine(core.client, core.informers, history, steps, self._clock, settings)
        trial = Trial(core.client, settings.claim_root, IMAGES.refusal)
        self.pipelines = build_api(
            self._database, self._guard, self._clock, self._engine.wake, steps,
            Cluster(bootstrap.PIPELINES, trial),
        )  # fmt: skip
        sources = Sources(SqlHistory(self._database), core.client, steps, settings.claim_root)
        pages = Pages(sources, self._guard, self._clock, self._sessions, _hosts())
        self.pages = Split(self.pipelines, pages)

    def issue_code(self) -> str:
        """What signs a browser in to the pages as the admin, once."""
        return self._sessions.issue_code(ADMIN, self._setting.admin_token)

    def routes(self) -> Mapping[str, ASGIApp]:
        """KFP's routes on the API server's port, by prefix."""
        return dict.fromkeys(_KFP_PREFIXES, self.pipelines)

    def coroutines(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What has to run for ever, by name."""
        core = self._core
        yield "pipeline engine", self._engine.run()
        models = serving.make_controller(
            core.client, core.informers, self._clock, Address(self._setting.url, DOMAIN),
            volumes_of(self._home),
        )  # fmt: skip
        yield "serving", models.run()
        envoy = gateway.make_controller(
            core.client, core.informers, self._clock, self._setting.gateway
        )
        yield "gateway", envoy.run()

    async def close(self) -> None:
        """Let go of the database."""
        await self._database.close()


def _hosts() -> list[str]:
    return [name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip()]


class Split:
    """P+1: KFP's routes, and pages everywhere else."""

    def __init__(self, pipelines: PipelinesApi, pages: ASGIApp) -> None:
        self._pipelines = pipelines
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to whom its path belongs."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        scope = without_identity(scope)
        app = self._pipelines if self._pipelines.matches(scope["path"]) else self._pages
        await app(scope, receive, send)

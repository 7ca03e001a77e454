"""The control plane of one home: every part, in the order in which they need each other."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from bessemer.app import bootstrap, embedded, folder, memory, readiness, shutdown
from bessemer.app.folder import Config
from bessemer.app.images import IMAGES
from bessemer.app.platform import GatewayAddresses, Platform, open_platform, set_up
from bessemer.app.ports import HOST, Ports
from bessemer.app.servers import Server, raise_descriptors
from bessemer.app.supervision import PartDied, TaskSupervisor
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.apiserver import certificates, kubeconfig
from bessemer.cluster.apiserver.app import ApiServerConfig, build_app
from bessemer.cluster.apiserver.certificates import Keys
from bessemer.cluster.apiserver.expiry import EventExpiry
from bessemer.cluster.controllers import catalog
from bessemer.cluster.extensions import reconciler as extensions
from bessemer.cluster.kubelet.logs.logfiles import LogFiles
from bessemer.cluster.kubelet.pods.agent import NodeAgent
from bessemer.cluster.kubelet.pods.dependencies import ClusterAccess, NodeConfig
from bessemer.cluster.kubelet.runtime import choose
from bessemer.cluster.kubelet.runtime.sandbox import SandboxRuntime
from bessemer.cluster.kubelet.volumes import claimfolders
from bessemer.cluster.kubelet.volumes.claims import ClaimBinder
from bessemer.cluster.scheduler.reconciler import Scheduler
from bessemer.dashboard import entrance
from bessemer.kinds.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION
from bessemer.kinds.kind import Kind
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM

NODE = "bessemer"


@dataclass(frozen=True)
class ControlPlaneOptions:
    """What was chosen before anything started."""

    home: Home
    config: Config
    ports: Ports
    clock: Clock

    @property
    def api(self) -> str:
        """The API's address, for clients on this machine."""
        return f"https://{HOST}:{self.config.port}"


class ControlPlane:
    """Starts everything, knows when it is ready, stops everything."""

    def __init__(self, setting: ControlPlaneOptions) -> None:
        self._setting = setting
        self._parts = TaskSupervisor()
        self._servers: list[Server] = []
        self._core: embedded.Core | None = None
        self._platform: Platform | None = None
        self._choice: choose.Choice | None = None
        self._readiness: readiness.Readiness | None = None

    @property
    def dead(self) -> asyncio.Future[PartDied]:
        """Done as soon as a part ended that must not."""
        return self._parts.dead

    def check(self) -> None:
        """Raise what a part died of, if one did."""
        if self.dead.done():
            raise self.dead.result()

    async def start(self) -> None:
        """Start every part; they become ready on their own, ``wait_ready`` waits for that."""
        home, clock, config = self._setting.home, self._setting.clock, self._setting.config
        keys = certificates.ensure(home.keys, [HOST], clock)
        kubeconfig.write(home.kubeconfig, self._setting.api, keys.ca, keys.admin_token)
        core = self._core = embedded.open_core(home, config, keys, clock)
        self._parts.start("informers", core.informers.run())
        self._readiness = readiness.Readiness(core.informers, NODE, self._setting.ports.gateway)
        choosing = asyncio.create_task(choose.choose(home.run, f"bessemer-{config.network}"))
        addresses = GatewayAddresses(
            HOST, self._setting.ports.gateway, f"127.{config.network}.0.0/17"
        )
        try:
            _, platform = await asyncio.gather(
                bootstrap.apply(core.client),
                open_platform(set_up(home, clock, keys, addresses), core),
            )
            self._platform = platform
            workloads = catalog.Workloads(
                catalog.ControllerContext(core.client, core.informers, clock, keys.ca)
            )
            self._parts.start("workloads", workloads.run())
            self._learn_kinds(core, workloads)
            scheduler = Scheduler(core.client, core.informers, clock)
            self._parts.start("scheduler", scheduler.controller().run())
            self._parts.start("event expiry", EventExpiry(core.machine, clock).run())
            self._parts.start("compaction", core.store.run_compaction(clock))
            if (giving_back := memory.giving_back(clock)) is not None:
                self._parts.start("giving back", giving_back.run())
        finally:
            self._choice = await choosing
        folder.tell_runtime(home, self._choice.describe())
        self._start_node(core, self._choice)
        self._start_faces(core, keys, platform, self._choice)
        for name, coroutine in platform.coroutines():
            self._parts.start(name, coroutine)

    def _learn_kinds(self, core: embedded.Core, workloads: catalog.Workloads) -> None:
        def learn(kinds: list[Kind]) -> None:
            if (own := embedded.OWN.get(kinds[0].resource)) is not None:
                # With all its rules, not those of its schema alone.
                core.machine.registry.learn([own])
                return
            core.machine.registry.learn(kinds)
            workloads.learn(kinds)

        registry = extensions.Registry(
            learn, core.machine.forget, core.machine.registry.built_in - embedded.OWN.keys()
        )
        # Before anybody is served: to clients these kinds have always been there.
        extensions.serve_known(core.machine.lookup_all(CUSTOM_RESOURCE_DEFINITION), registry)
        clock = self._setting.clock
        learner = extensions.DefinitionReconciler(core.client, core.informers, clock, registry)
        self._parts.start("definitions", learner.controller().run())

    def _start_node(self, core: embedded.Core, choice: choose.Choice) -> None:
        home, clock, config = self._setting.home, self._setting.clock, self._setting.config
        node = NodeConfig(
            name=NODE,
            network=config.network,
            host_ip=HOST,
            api_host=HOST,
            api_port=config.port,
            platform_ports=tuple(range(config.port, config.port + 3)),
            images=IMAGES,
            unguarded=choice.unguarded,
            unisolated="" if choice.runtime.name == SandboxRuntime.name else choice.reason,
        )
        access = ClusterAccess(core.client, core.informers, core.issuer.issue)
        agent = NodeAgent(node, home, access, choice.runtime, clock)
        claimfolders.restore(home, core.machine.lookup_all(PERSISTENT_VOLUME_CLAIM))
        binder = ClaimBinder(core.client, core.informers, clock, home)
        self._parts.start("claims", binder.controller().run())
        self._parts.start("node agent", agent.run())

    def _start_faces(
        self, core: embedded.Core, keys: Keys, platform: Platform, choice: choose.Choice
    ) -> None:
        logs = LogFiles(self._setting.home, choice.runtime, self._setting.clock)
        core.client.serve_logs(logs)
        api = build_app(
            ApiServerConfig(
                core.machine,
                core.rbac,
                core.tokens,
                core.issuer,
                self._setting.clock,
                logs,
                services=platform.services(),
                extra_routes=platform.routes(),
            )
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(keys.certificate_file, keys.key_file)
        limits = raise_descriptors()
        self._serve("https server", Server(api, self._setting.ports.api, tls, limits))
        pages = Server(platform.pages, self._setting.ports.pages, limits=limits)
        self._serve("http server", pages)

    def _serve(self, name: str, server: Server) -> None:
        self._servers.append(server)
        self._parts.start(name, server.run_until_stopped())

    async def wait_ready(self) -> None:
        """Wait until all of it can be used."""
        assert self._readiness is not None
        await asyncio.gather(
            self._readiness.wait(), *(server.wait_started() for server in self._servers)
        )

    def waits_for(self) -> str:
        """What is not ready yet."""
        return self._readiness.missing() if self._readiness else "the store"

    def ready_line(self) -> str:
        """What a person needs to know of a running Bessemer."""
        port, home = self._setting.config.port, self._setting.home
        runtime = self._choice.describe() if self._choice else ""
        code = self._platform.issue_code() if self._platform else ""
        link = entrance.link(HOST, port + 1, code)
        return "\n".join(
            (
                f"Bessemer is ready on home {home.root}",
                f"  Kubernetes API and KFP  https://{HOST}:{port}",
                f"  pages and KFP by http   http://{HOST}:{port + 1}",
                f"  gateway to models       http://{HOST}:{port + 2}",
                f"  sign in, once           {link}",
                f'  for your shell          eval "$(bessemer env{folder.option(home)})"',
                f"  runtime                 {runtime}",
            )
        )

    async def stop(self, *, end_pods: bool) -> None:
        """Stop every part; with ``end_pods`` the pods too, else they run on."""
        self._parts.stopping()
        for server in self._servers:
            server.stop()
        await self._parts.stop()
        if self._choice is not None:
            if end_pods:
                await shutdown.end_pods(self._choice.runtime, self._setting.home)
            await self._choice.runtime.close()
        if self._platform is not None:
            await self._platform.close()
        if self._core is not None:
            await self._core.store.close()

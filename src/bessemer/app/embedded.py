"""The embedded cluster's core: store, API machine, client, informers, who may what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.app.capabilities.catalog import CAPABILITIES
from bessemer.app.folder import Config
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.admission.chain import Admission
from bessemer.cluster.admission.services import Addresses
from bessemer.cluster.apiserver.certificates import Keys
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.rbac import KINDS as ACCESS_KINDS
from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.cluster.apiserver.tokens import TokenIssuer, Tokens
from bessemer.cluster.extensions import definitions
from bessemer.cluster.store import encryption
from bessemer.cluster.store.reserve import Reserve
from bessemer.cluster.store.store import Store
from bessemer.kinds.catalog import KINDS
from bessemer.kinds.customresourcedefinition import described
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.secret import SECRET
from bessemer.kinds.service import SERVICE
from bessemer.kube.informer import Informers
from bessemer.kube.inprocess import InProcessClient

SECRETS_KEY = "secrets.key"


@dataclass(frozen=True)
class Core:
    """What every controller and every HTTP face leans on."""

    store: Store
    machine: Machine
    client: InProcessClient
    informers: Informers
    rbac: Rbac
    tokens: Tokens
    issuer: TokenIssuer


def open_store(home: Home) -> Store:
    """The home's objects, Secrets sealed with its key."""
    sealer = encryption.load(home.keys / SECRETS_KEY)
    return Store(home.objects, {SECRET.resource: sealer}, reserve=Reserve(home.reserve))


#: The kinds of ours that a Kubernetes knows by a definition.
OWN = {kind.resource: described(kind) for each in CAPABILITIES for kind in each.kinds}


def _describe(kind: Kind) -> Kind:
    return OWN.get(kind.resource, kind)


def open_core(home: Home, config: Config, keys: Keys, clock: Clock) -> Core:
    """Open the store and join the machine to its admission and access control."""
    store = open_store(home)

    def look_up(kind: Kind, namespace: str, name: str) -> Object | None:
        return machine.lookup(kind, namespace, name)

    def services() -> Sequence[Object]:
        return machine.lookup_all(SERVICE)

    addresses = Addresses(f"127.{config.network}.0.0/17", services)
    machine = Machine(
        store,
        clock,
        Admission(look_up, addresses),
        [*map(_describe, KINDS), definitions.DEFINITION],
    )
    client = InProcessClient(machine)
    informers = Informers(client, clock)
    rbac = Rbac()
    for kind in ACCESS_KINDS:
        informers.of(kind).subscribe(rbac.observe)
    tokens = Tokens(keys.admin_token, keys.signing_key.public_key(), look_up, clock)
    return Core(
        store, machine, client, informers, rbac, tokens,
        TokenIssuer(keys.signing_key, look_up, clock),
    )  # fmt: skip

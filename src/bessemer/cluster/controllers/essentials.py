"""What every namespace has: the ServiceAccount ``default`` and the ConfigMap with the CA."""

from __future__ import annotations

from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.client import Client
from bessemer.kube.errors import AlreadyExists, ApiError
from bessemer.kube.informer import Informers

CA_CONFIG_MAP = "kube-root-ca.crt"
DEFAULT_ACCOUNT = "default"


class EssentialsReconciler:
    """Keyed by namespace: makes both, and mends the CA's ConfigMap."""

    def __init__(self, client: Client, informers: Informers, ca_pem: str) -> None:
        self._client = client
        self._namespaces = informers.of(NAMESPACE)
        self._accounts = informers.of(SERVICE_ACCOUNT)
        self._maps = informers.of(CONFIG_MAP)
        self._data = {"ca.crt": ca_pem}

    async def reconcile(self, key: Key) -> Result:
        """Make what a namespace lacks of what each one has."""
        namespace = self._namespaces.get(key.name)
        if namespace is None or meta.is_deleting(namespace):
            return DONE
        if self._accounts.get(DEFAULT_ACCOUNT, key.name) is None:
            await self._create(
                SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, DEFAULT_ACCOUNT, key.name)
            )
        stored = self._maps.get(CA_CONFIG_MAP, key.name)
        if stored is None:
            wanted = meta.new(CONFIG_MAP, CA_CONFIG_MAP, key.name, data=self._data)
            await self._create(CONFIG_MAP, wanted)
        elif stored.get("data") != self._data:
            await self._client.update(CONFIG_MAP, {**stored, "data": self._data})
        return DONE

    async def _create(self, kind: Kind, obj: Object) -> None:
        try:
            await self._client.create(kind, obj)
        except AlreadyExists:
            return
        except ApiError:
            live = self._namespaces.get(meta.namespace(obj))
            if live is not None and not meta.is_deleting(live):
                raise

"""Somebody who may edit one namespace and wants more: a Bessemer, two tenants, a pod to try with.

The suite ``acceptance/adversary`` runs once as root and once as an ordinary user, who can write no
cgroup: walls that stand for one of them only are no walls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

RBAC = "/apis/rbac.authorization.k8s.io/v1"
#: The tenants. The adversary edits the first one.
TENANTS = ("a", "b")
_ENDED = ("Succeeded", "Failed")
#: Makes whoever runs the tests an ordinary user without capabilities, who can write no cgroup.
_AS_USER = (
    "unshare", "--mount", "--propagation", "private", "sh", "-c",
    "mount -t tmpfs -o ro none /sys/fs/cgroup && "
    'exec unshare --user --map-user=1000 --map-group=1000 "$0" "$@"',
)  # fmt: skip


def person(kind: str) -> tuple[str, ...]:
    """The words that make ``kind`` ("root" or "user") run a command."""
    return _AS_USER if kind == "user" and os.getuid() == 0 else ()


@dataclass(frozen=True)
class World:
    """A running Bessemer and a token of each tenant's editor."""

    bessemer: harness.Running
    tokens: dict[str, str]

    def ask(
        self, method: str, path: str, body: Any = None, *, tenant: str = "a", **options: Any
    ) -> tuple[int, Any]:
        """A request of a tenant's editor."""
        return self.bessemer.request(method, path, body, token=self.tokens[tenant], **options)

    def start(self, name: str, script: str, *, tenant: str = "a", **spec: Any) -> None:
        """Create a pod that runs a Python script once.

        ``spec`` are fields of the pod's spec; ``container`` those of its one container.
        """
        container = {
            "name": "main",
            "image": "python:3.11",
            "command": ["python3", "-c", script],
            **spec.pop("container", {}),
        }
        body = {
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [container],
                **spec,
            },
        }
        status, answer = self.ask("POST", pods(tenant), body, tenant=tenant)
        assert status == 201, answer

    def wait(self, name: str, *, tenant: str = "a", seconds: float = 90.0) -> tuple[str, str]:
        """The pod's phase once it has ended, and its log."""
        query = f"{pods(tenant)}?fieldSelector=metadata.name%3D{name}"
        self.bessemer.until(query, lambda found: _phase(found) in _ENDED, seconds)
        (pod,) = self.bessemer.get(query)["items"]
        status, log = self.bessemer.request("GET", f"{pods(tenant)}/{name}/log")
        assert status == 200, log
        return pod["status"]["phase"], log

    def run(self, name: str, script: str, *, tenant: str = "a", **spec: Any) -> tuple[str, str]:
        """``start`` and ``wait``, and the pod is deleted."""
        self.start(name, script, tenant=tenant, **spec)
        try:
            return self.wait(name, tenant=tenant)
        finally:
            self.bessemer.delete(f"{pods(tenant)}/{name}?gracePeriodSeconds=0")


def pods(tenant: str) -> str:
    """The path of a tenant's pods."""
    return f"/api/v1/namespaces/{tenant}/pods"


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for the disk, which tells nobody of its changes."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # noqa: TID251 -- files tell nobody


def _phase(found: list[Any]) -> str:
    return found[0].get("status", {}).get("phase", "") if found else ""


@contextmanager
def open_world(folder: Path, kind: str, starter: tuple[str, ...] | None = None) -> Iterator[World]:
    """A Bessemer run by this kind of person on ``folder/home``, with its tenants.

    ``starter`` are the words that start it, where they are others than ``person``'s.
    """
    words = person(kind) if starter is None else starter
    with harness.bessemer(folder, person=words) as running:
        yield World(running, {name: make_tenant(running, name) for name in TENANTS})


def make_tenant(running: harness.Running, name: str) -> str:
    """A namespace, and the token of an account that has ClusterRole edit in it and no other."""
    running.create("/api/v1/namespaces", {"metadata": {"name": name}})
    token = make_account(running, name, "editor")
    binding = {
        "metadata": {"name": "editor"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "edit",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": name}],
    }
    running.create(f"{RBAC}/namespaces/{name}/rolebindings", binding)
    return token


def make_account(running: harness.Running, namespace: str, name: str) -> str:
    """A service account that may nothing yet, and its token."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    running.create(accounts, {"metadata": {"name": name}})
    request = {"spec": {"expirationSeconds": 3600}}
    token: str = running.create(f"{accounts}/{name}/token", request)["status"]["token"]
    return token

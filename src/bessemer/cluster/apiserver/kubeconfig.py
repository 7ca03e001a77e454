"""The kubeconfig that ``bessemer up`` writes: server, CA and the admin's token, mode 0600."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from bessemer.cluster.apiserver.certificates import write_private

_NAME = "bessemer"


def write(path: Path, server: str, ca: str, token: str) -> None:
    """Write it for ``server`` ("https://127.0.0.1:6443")."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [
            {
                "name": _NAME,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
                },
            }
        ],
        "users": [{"name": _NAME, "user": {"token": token}}],
        "contexts": [
            {
                "name": _NAME,
                "context": {"cluster": _NAME, "user": _NAME, "namespace": "kubeflow"},
            }
        ],
    }
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())

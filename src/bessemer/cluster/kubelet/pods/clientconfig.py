"""A kubeconfig for a pod that can't have its service account mounted where clients look for it.

The process runtime has no mount at /var/run/secrets. Clients that find nothing there read the
file that KUBECONFIG names; the token stays in the volume's own file, which is renewed.
"""

from __future__ import annotations

import json
from pathlib import Path

VARIABLE = "KUBECONFIG"


def make(server: str, namespace: str, volume: Path) -> str:
    """The file's text; ``volume`` holds token and ca.crt."""
    name = "pod"
    cluster = {"server": server, "certificate-authority": str(volume / "ca.crt")}
    context = {"cluster": name, "user": name, "namespace": namespace}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"tokenFile": str(volume / "token")}}],
            "contexts": [{"name": name, "context": context}],
        }
    )

"""``make bench``: everything side by side in one run; medians, ratios, JSON in results/.

``make bench BENCH="start pipelines"`` runs some of: start pipelines api serving.
"""

import argparse
import json
import os
import platform
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
from bessemer_up import bessemer

HERE = Path(__file__).resolve().parent
PARTS = ("start", "pipelines", "api", "serving")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, choices=PARTS)
    chosen = parser.parse_args().parts or PARTS
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    failed = []
    for part in chosen:
        print(f"== {part}", flush=True)
        sink = results / f"{part}.json"
        command = [sys.executable, str(HERE / f"bench_{part}.py"), "--json", str(sink)]
        if run_api(command) if part == "api" else subprocess.run(command, check=False).returncode:
            failed.append(part)
            continue
        figures = json.loads(sink.read_text())
        figures = {"machine": machine(), "figures": figures.get("figures", figures)}
        sink.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def run_api(command: list[str]) -> int:
    """Against a Bessemer of its own, as a service account, whose every request RBAC decides."""
    account = {"kind": "ServiceAccount", "name": "bench", "namespace": "default"}
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": "bench"}, "roleRef": role, "subjects": [account]}
    with bessemer() as up:
        ca = str(up.home / "keys" / "ca.crt")
        token = up.env["BESSEMER_TOKEN"]
        with httpx.Client(
            base_url=up.env["BESSEMER_API"],
            verify=ssl.create_default_context(cafile=ca),
            headers={"Authorization": f"Bearer {token}"},
        ) as api:
            accounts = "/api/v1/namespaces/default/serviceaccounts"
            api.post(accounts, json={"metadata": {"name": "bench"}}).raise_for_status()
            bindings = f"/apis/{group}/v1/clusterrolebindings"
            api.post(bindings, json=binding).raise_for_status()
            asked = api.post(f"{accounts}/bench/token", json={"spec": {}}).raise_for_status()
        own = asked.json()["status"]["token"]
        server = ["--server", up.env["BESSEMER_API"], "--token", own, "--ca", ca, "--runs", "3"]
        return subprocess.run([*command, *server], check=False).returncode


def machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": str(len(os.sched_getaffinity(0))),
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
    }


if __name__ == "__main__":
    sys.exit(main())

"""What a pod can't reach: others' secrets, files, processes and logs; the home; the API."""

import json
from typing import Any

import pytest

import harness

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("isolation")]

# Tries everything named in its environment, and prints what it got as one JSON line.
SPY = r"""
import json, os, ssl, urllib.error, urllib.request

def attempt(deed):
    try:
        return deed()
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(ACCOUNT + "token").read()
trust = ssl.create_default_context(cafile=ACCOUNT + "ca.crt")
address = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
server = "https://%s:%s" % address

def ask(path, method="GET", body=None):
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    request = urllib.request.Request(server + path, body, headers, method=method)
    return urllib.request.urlopen(request, context=trust).status

def commands():
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            found.append(open("/proc/%s/cmdline" % pid).read())
    return found

home = os.environ["SPIED_HOME"]
print(json.dumps({
    "own namespace's pods": attempt(lambda: ask("/api/v1/namespaces/spies/pods")),
    "own namespace's secrets": attempt(lambda: ask("/api/v1/namespaces/spies/secrets")),
    "victim's secret": attempt(lambda: ask("/api/v1/namespaces/victims/secrets/treasure")),
    "victim's pods": attempt(lambda: ask("/api/v1/namespaces/victims/pods")),
    "victim's log": attempt(lambda: ask("/api/v1/namespaces/victims/pods/victim/log")),
    "making a role": attempt(lambda: ask(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "POST", b"{}")),
    "runs": attempt(lambda: ask("/apis/v2beta1/runs?namespace=kubeflow")),
    "home": attempt(lambda: os.listdir(home)),
    "keys": attempt(lambda: open(home + "/keys/admin.token").read()),
    "victim's volume": attempt(lambda: os.listdir(home + "/volumes/victims")),
    "owner's file": attempt(lambda: open(os.path.dirname(home) + "/diary").read()),
    "processes": [text for text in commands() if "treasure-" + "hunt" in text],
    "core pattern": attempt(lambda: open("/proc/sys/kernel/core_pattern", "w").write("x")),
}))
"""


def pod(name: str, namespace: str, script: str, **env: str) -> dict[str, Any]:
    """A pod that runs a Python script once."""
    container = {
        "name": "main",
        "image": "python:3.11",
        "command": ["python3", "-c", script],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container]}}


@pytest.fixture(scope="module")
def bessemer(bessemer: harness.Running) -> harness.Running:
    """With a namespace that has something to hide, and one that spies."""
    for namespace in ("spies", "victims"):
        bessemer.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    secret = {"metadata": {"name": "treasure"}, "stringData": {"gold": "very-secret-gold"}}
    bessemer.create("/api/v1/namespaces/victims/secrets", secret)
    script = "import time; print('treasure-hunt', flush=True); time.sleep(1000)"
    bessemer.create("/api/v1/namespaces/victims/pods", pod("victim", "victims", script))
    bessemer.until("/api/v1/namespaces/victims/pods", lambda pods: phases(pods) == {"Running"})
    return bessemer


def phases(pods: list[Any]) -> set[str]:
    return {pod.get("status", {}).get("phase", "") for pod in pods} or {"none is there yet"}


@pytest.mark.usefixtures("sandboxed")
def test_a_pod_reaches_nothing_of_others(bessemer: harness.Running) -> None:
    path = "/api/v1/namespaces/spies/pods"
    (bessemer.home.parent / "diary").write_text("private")
    bessemer.create(path, pod("spy", "spies", SPY, SPIED_HOME=str(bessemer.home)))
    ended = {"Succeeded", "Failed"}
    bessemer.until(f"{path}?fieldSelector=metadata.name%3Dspy", lambda pods: phases(pods) <= ended)

    _, log = bessemer.request("GET", f"{path}/spy/log")
    found = json.loads(log.strip().splitlines()[-1])
    core_pattern = found.pop("core pattern")
    assert core_pattern in {"OSError", "PermissionError", "FileNotFoundError"}
    assert found == {
        "own namespace's pods": 403,  # the default service account has no rights at all
        "own namespace's secrets": 403,
        "victim's secret": 403,
        "victim's pods": 403,
        "victim's log": 403,
        "making a role": 403,
        "runs": 403,
        "home": ["environments"],  # where its own, read-only environment is bound
        "keys": "FileNotFoundError",
        "victim's volume": "FileNotFoundError",
        "owner's file": "FileNotFoundError",
        "processes": [],
    }


def test_secrets_are_not_readable_in_the_files_of_the_home(bessemer: harness.Running) -> None:
    files = [path for path in bessemer.home.glob("objects.db*") if path.is_file()]

    assert files
    assert all(b"very-secret-gold" not in path.read_bytes() for path in files)
    assert all(b"dmVyeS1zZWNyZXQtZ29sZA" not in path.read_bytes() for path in files)


def test_a_pod_of_another_namespace_cannot_mount_a_secret_by_its_name(
    bessemer: harness.Running,
) -> None:
    thief = pod("thief", "spies", "print(1)")
    thief["spec"]["containers"][0]["env"] = [
        {"name": "GOLD", "valueFrom": {"secretKeyRef": {"name": "treasure", "key": "gold"}}}
    ]
    path = "/api/v1/namespaces/spies/pods"
    bessemer.create(path, thief)

    pods = bessemer.until(path, lambda pods: any(waits_for_config(pod) for pod in pods))

    (waiting,) = [pod for pod in pods if waits_for_config(pod)]
    assert "treasure" in str(waiting["status"]["containerStatuses"])
    assert waiting["status"]["phase"] == "Pending"


def waits_for_config(pod: dict[str, Any]) -> bool:
    states = pod.get("status", {}).get("containerStatuses") or []
    reasons = {state["state"].get("waiting", {}).get("reason") for state in states}
    return "CreateContainerConfigError" in reasons


@pytest.mark.parametrize("token", ["", "not-a-token"])
def test_without_a_known_token_nothing_is_answered(bessemer: harness.Running, token: str) -> None:
    for path in (
        "/api/v1/pods",
        "/apis/v2beta1/runs",
        "/api/v1/namespaces/victims/pods/victim/log",
    ):
        status, answer = bessemer.request("GET", path, token=token)

        assert status == 401, answer

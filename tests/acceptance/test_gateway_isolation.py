"""A served model and who may ask it: tokens and bindings by the official client."""

import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import harness
import modelserver_world
from bessemer.kinds import meta

CLIENT = Path(__file__).parent / "clients" / "model_callers.py"
OURS, THEIRS = "owners", "strangers"
ISVCS = f"/apis/serving.kserve.io/v1beta1/namespaces/{OURS}/inferenceservices"
CLAIMS = f"/api/v1/namespaces/{OURS}/persistentvolumeclaims"
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}
BUILD_SECONDS = 150.0  # the model's environment is built in this home
FOLLOW_SECONDS = 30.0

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("gateway-isolation"),
]

# Asks the model through the gateway as its pod's account, and says what it was answered.
CALLER = """
import os, urllib.error, urllib.request
token = open("/var/run/secrets/kubernetes.io/serviceaccount/token").read()
request = urllib.request.Request(os.environ["URL"], headers={"Authorization": "Bearer " + token})
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@dataclass
class Served:
    """A model "iris" in one namespace, and a token of an account in each."""

    bessemer: harness.Running
    owner: str
    stranger: str

    def ask(self, token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.bessemer.gateway}/serving/{OURS}/iris/v2/models/iris/infer"
        return httpx.post(url, json={"inputs": [ROW]}, headers=headers, timeout=30)

    def until(self, token: str, status: int) -> None:
        """Ask until that is the answer: Envoy says nothing when it follows a change."""
        pause = threading.Event()
        for _ in range(int(FOLLOW_SECONDS / 0.05)):
            answer = self.ask(token)
            if answer.status_code == status:
                return
            pause.wait(0.05)
        raise AssertionError(f"never {status}, but {answer.status_code}: {answer.text}")

    def administer(self, *arguments: str) -> str:
        return self.bessemer.client(CLIENT, *arguments).strip()


@pytest.fixture(scope="module")
def served(bessemer: harness.Running, tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = tmp_path_factory.mktemp("made")
    script = modelserver_world.ROOT / "tests" / "make_models.py"
    subprocess.run([modelserver_world.make_environment(), script, made], check=True)
    served = Served(bessemer, "", "")
    served.owner = served.administer("prepare", OURS, "owner")
    served.stranger = served.administer("prepare", THEIRS, "stranger")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    bessemer.create(CLAIMS, {"metadata": {"name": "models"}, "spec": spec})
    bessemer.until(CLAIMS, lambda claims: claims[0]["status"]["phase"] == "Bound")
    shutil.copytree(made, bessemer.home / "volumes" / OURS / "models" / "made")
    isvc = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris"},
        "spec": {"predictor": {"sklearn": {"storageUri": "pvc://models/made/artifact"}}},
    }
    bessemer.create(ISVCS, isvc)
    bessemer.until(ISVCS, is_ready, BUILD_SECONDS)
    return served


def is_ready(found: list[Any]) -> bool:
    return (meta.condition(found[0], "Ready") or {}).get("status") == "True"


def test_an_account_of_its_own_namespace_asks_the_model(served: Served) -> None:
    for token in (served.owner, served.bessemer.token):
        answer = served.ask(token)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_name"] == "iris"


def test_an_account_of_another_namespace_is_refused_until_it_is_bound(served: Served) -> None:
    refused = served.ask(served.stranger)
    assert refused.status_code == 403
    assert f"system:serviceaccount:{THEIRS}:stranger" in refused.json()["error"]

    served.administer("bind", OURS, "stranger", THEIRS)
    served.until(served.stranger, 200)
    served.administer("unbind", OURS, "stranger", THEIRS)
    served.until(served.stranger, 403)


@pytest.mark.parametrize(("namespace", "status"), [(OURS, "200"), (THEIRS, "403")])
def test_a_pod_asks_as_its_own_account(served: Served, namespace: str, status: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    container = {
        "name": "main",
        "image": "python:3.11",
        "command": ["python3", "-c", CALLER],
        "env": [
            {
                "name": "URL",
                "value": f"{served.bessemer.gateway}/serving/{OURS}/iris/v2/models/iris",
            }
        ],
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    served.bessemer.create(pods, {"metadata": {"name": "caller"}, "spec": spec})

    def ended(found: list[Any]) -> bool:
        return any(meta.dig(pod, "status.phase") in ("Succeeded", "Failed") for pod in found)

    served.bessemer.until(f"{pods}?fieldSelector=metadata.name%3Dcaller", ended)
    _, log = served.bessemer.request("GET", f"{pods}/caller/log")
    assert log.strip() == status


def test_without_the_control_plane_the_same_is_decided(served: Served) -> None:
    guest = served.administer("prepare", THEIRS, "guest")
    served.administer("bind", OURS, "guest", THEIRS)
    served.until(guest, 200)
    asked = {
        served.owner: 200, served.bessemer.token: 200, guest: 200,
        served.stranger: 403, "garbage": 401, "": 401,
    }  # fmt: skip

    served.bessemer.kill9()
    assert {token: served.ask(token).status_code for token in asked} == asked
    served.bessemer.restart()
    assert {token: served.ask(token).status_code for token in asked} == asked
    # And it goes on following.
    served.administer("unbind", OURS, "guest", THEIRS)
    served.until(guest, 403)

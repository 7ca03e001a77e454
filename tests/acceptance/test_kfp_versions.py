"""``kfp.Client()`` with nothing but KUBECONFIG: the SDKs that users have, oldest to newest."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import client_environments
import harness

CLIENT = Path(__file__).parent / "clients" / "every_day.py"
ARTIFACTS = CLIENT.with_name("artifacts.py")
PROXY = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/"

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("kfp-versions")]


def python_of(version: str) -> Path:
    """The example's own environment has 2.17.0; the others are made."""
    if version != "2.17.0":
        return client_environments.make_python(f"kfp=={version}")
    if not harness.SDKS.exists():
        pytest.skip("needs the example's environment: make install")
    return harness.SDKS


def play(bessemer: harness.Running, home: Path, version: str, script: Path) -> Any:
    """What ``script`` tells in its last line (JSON), by ``kfp`` in ``version`` and KUBECONFIG."""
    done = subprocess.run(
        [python_of(version), script],
        env={"KUBECONFIG": str(bessemer.kubeconfig), "HOME": str(home), "PATH": "/usr/bin"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("version", ["2.9.0", "2.14.3", "2.17.0"])
def test_a_days_work_needs_only_the_kubeconfig(
    bessemer: harness.Running, tmp_path: Path, version: str
) -> None:
    told = play(bessemer, tmp_path, version, CLIENT)

    assert told == {
        "version": version,
        "multi user": False,
        "run": "SUCCEEDED",
        "read": "SUCCEEDED",
        "tasks": ["add", "add-2", "adder"],  # the run itself is one of them
        "listed": True,
        "uploaded": True,
        "found": True,
        "versions": 1,
        "by version": "SUCCEEDED",
        "terminated": "FAILED",
        "no such run": 404,
        "wrong argument": 400,
    }


LONG = pytest.mark.long


@pytest.mark.usefixtures("sandboxed")
@pytest.mark.parametrize(
    "version",
    [
        *(pytest.param(old, marks=LONG) for old in ("2.0.1", "2.1.3", "2.2.0", "2.3.0")),
        "2.4.0",  # the last whose artifacts have no path where their URI is a plain one
        pytest.param("2.5.0", marks=LONG),
        "2.17.0",
    ],
)
def test_artifacts_have_their_paths_in_every_version(
    bessemer: harness.Running, tmp_path: Path, version: str
) -> None:
    told = play(bessemer, tmp_path, version, ARTIFACTS)

    assert (told["version"], told["state"], told["error"]) == (version, "SUCCEEDED", "")
    made = bessemer.get(f"/apis/v2beta1/artifacts?run_id={told['run_id']}")["artifacts"]
    assert {one["name"]: one.get("metadata") for one in made} == {
        "data": {"rows": 3}, "scores": {"loss": 0.5}, "model": None,
    }  # fmt: skip
    assert all(one["uri"].startswith("/") for one in made)


@pytest.mark.parametrize(
    "service", ["ml-pipeline:http", "http:ml-pipeline:8888", "http:ml-pipeline:http"]
)
@pytest.mark.parametrize("slashes", ["", "/"])
def test_the_service_proxys_path_leads_to_the_same_runs(
    bessemer: harness.Running, service: str, slashes: str
) -> None:
    proxy = f"/api/v1/namespaces/kubeflow/services/{service}/proxy/"
    path = f"{proxy}{slashes}apis/v2beta1/healthz"

    assert bessemer.get(path) == bessemer.get("/apis/v2beta1/healthz")


@pytest.mark.parametrize("path", ["/apis/v2beta1/runs", f"{PROXY}/apis/v2beta1/runs"])
@pytest.mark.parametrize("token", ["", "not-a-token"])
def test_without_a_known_token_neither_path_answers(
    bessemer: harness.Running, path: str, token: str
) -> None:
    answer: Any
    status, answer = bessemer.request("GET", path, token=token)

    assert status == 401, answer

"""A ServiceAccount of another namespace: what it may not see, change or call."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

import harness

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ISVC = "/apis/serving.kserve.io/v1beta1"
RUNS = "/apis/v2beta1/runs"

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("second-user")]


@dataclass
class User:
    """Who may edit all in namespace ``other``, and a run of namespace ``kubeflow``."""

    bessemer: harness.Running
    token: str
    run_id: str

    def ask(self, method: str, path: str, body: Any = None) -> int:
        status, _ = self.bessemer.request(method, path, body, token=self.token)
        return status


@pytest.fixture(scope="module")
def user(bessemer: harness.Running) -> User:
    bessemer.create("/api/v1/namespaces", {"metadata": {"name": "other"}})
    account = "/api/v1/namespaces/other/serviceaccounts"
    bessemer.create(account, {"metadata": {"name": "she"}})
    binding = {
        "metadata": {"name": "she"},
        "roleRef": {"kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "she", "namespace": "other"}],
    }
    bessemer.create(f"{RBAC}/namespaces/other/rolebindings", binding)
    request = {"spec": {"expirationSeconds": 3600}}
    token = bessemer.create(f"{account}/she/token", request)["status"]["token"]
    return User(bessemer, token, bessemer.create(RUNS, run())["run_id"])


def run() -> dict[str, Any]:
    task = {"componentRef": {"name": "comp-a"}, "taskInfo": {"name": "a"}}
    executor = {"container": {"image": "busybox", "command": ["echo", "private"]}}
    spec = {
        "components": {"comp-a": {"executorLabel": "exec-a"}},
        "deploymentSpec": {"executors": {"exec-a": executor}},
        "pipelineInfo": {"name": "private"},
        "root": {"dag": {"tasks": {"a": task}}},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
    }
    return {"display_name": "private", "pipeline_spec": spec}


def test_in_her_own_namespace_she_works(user: User) -> None:
    made = {"metadata": {"name": "hers"}, "data": {"a": "1"}}

    assert user.ask("POST", "/api/v1/namespaces/other/configmaps", made) == 201
    assert user.ask("GET", "/api/v1/namespaces/other/pods") == 200
    assert user.ask("GET", f"{ISVC}/namespaces/other/inferenceservices") == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", RUNS),
        ("GET", f"{RUNS}?namespace=kubeflow"),
        ("GET", f"{RUNS}/{{run}}"),
        ("POST", f"{RUNS}/{{run}}:terminate"),
        ("DELETE", f"{RUNS}/{{run}}"),
        ("POST", RUNS),
        ("GET", "/apis/v2beta1/pipelines?namespace=kubeflow"),
        ("GET", "/apis/v2beta1/experiments?namespace=kubeflow"),
        ("GET", f"{ISVC}/namespaces/kubeflow/inferenceservices"),
        ("GET", f"{ISVC}/inferenceservices"),
        ("POST", f"{ISVC}/namespaces/kubeflow/inferenceservices"),
        ("GET", "/api/v1/namespaces/kubeflow/pods"),
        ("GET", "/api/v1/namespaces/kubeflow/secrets"),
        ("GET", "/api/v1/namespaces/bessemer-system/configmaps"),
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/secrets"),
        ("DELETE", "/api/v1/namespaces/kubeflow"),
        ("POST", "/api/v1/namespaces/kubeflow/serviceaccounts/pipeline-runner/token"),
        ("GET", "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy//apis/v2beta1/runs"),
    ],
)
def test_of_another_namespace_she_sees_and_changes_nothing(
    user: User, method: str, path: str
) -> None:
    body = run() if path == RUNS else {"metadata": {"name": "x"}} if method == "POST" else None

    assert user.ask(method, path.format(run=user.run_id), body) == 403
    assert user.bessemer.get(f"{RUNS}/{user.run_id}")["display_name"] == "private"


def test_she_cannot_give_herself_more(user: User) -> None:
    binding = {
        "metadata": {"name": "more"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "she", "namespace": "other"}],
    }

    assert user.ask("POST", f"{RBAC}/namespaces/other/rolebindings", binding) == 403
    assert user.ask("POST", f"{RBAC}/clusterrolebindings", binding) == 403


def signed_in(url: str, token: str) -> httpx.Response:
    """The page as a browser has it after its user gave the token."""
    origin = url.partition("/runs")[0].rstrip("/")
    form = {"secret": token, "next": url.removeprefix(origin)}
    with httpx.Client(follow_redirects=True) as browser:
        return browser.post(f"{origin}/login", data=form, headers={"Origin": origin})


@pytest.mark.parametrize("page", ["/", "/runs/{run}"])
def test_pages_show_her_nothing_of_it(user: User, page: str) -> None:
    url = user.bessemer.pipelines + page.format(run=user.run_id)

    stranger = httpx.get(url)
    hers = signed_in(url, user.token)
    admins = signed_in(url, user.bessemer.token)

    assert stranger.status_code == 401
    assert hers.status_code in (200, 403), hers.text
    assert admins.status_code == 200
    assert ["private" in answer.text for answer in (stranger, hers, admins)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("token", ["", "not-a-token"])
def test_without_a_known_token_no_model_answers(user: User, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{user.bessemer.gateway}/serving/kubeflow/any/v2/models/any/infer"

    assert httpx.post(url, json={"inputs": []}, headers=headers).status_code == 401

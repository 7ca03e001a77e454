"""CustomResourceDefinitions by unmodified kubectl: learned, served, kept, and gone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from acceptance.test_kubectl import KUBECTL

LIMIT = 90.0  # seconds for one command, on a slow and busy machine
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRONTABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("custom-resources"),
    pytest.mark.skipif(
        KUBECTL is None,
        reason="no kubectl in PATH, and none built by benchmarks/kubernetes_build.py",
    ),
]

FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "x-kubernetes-validations": [
                {"rule": "!has(self.replicas) || self.replicas <= 10", "message": "at most ten"},
                {"rule": "self.cronSpec == oldSelf.cronSpec", "message": "cronSpec stays"},
            ],
            "properties": {
                "cronSpec": {"type": "string", "description": "When it runs.",
                             "pattern": r"^(\S+ ){4}\S+$"},
                "image": {"type": "string", "default": "busybox"},
                "replicas": {"type": "integer", "minimum": 1, "default": 1},
            },
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    },
}  # fmt: skip
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "crontabs.stable.example.com"},
    "spec": {
        "group": "stable.example.com",
        "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab",
                  "shortNames": ["ct"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1},
                ],
                "selectableFields": [{"jsonPath": ".spec.image"}],
            },
            {
                "name": "v1beta1", "served": True, "storage": False,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": FREE, "status": FREE}}},
            },
        ],
    },
}  # fmt: skip
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


def crontab(name: str, **spec: Any) -> Any:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"cronSpec": "* * * * */5", **spec},
    }


@pytest.fixture(scope="module")
def bessemer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path_factory.mktemp("custom")) as running:
        yield running


@pytest.fixture
def kubectl(bessemer: harness.Running, tmp_path: Path) -> Iterator[Kubectl]:
    """Runs kubectl in namespace default; the definition is there, and goes in the end."""

    def run(*arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(KUBECTL), "-n", "default", *arguments],
            env={"KUBECONFIG": str(bessemer.kubeconfig), "HOME": str(tmp_path)},
            input=None if body is None else json.dumps(body),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    made = run("apply", "-f", "-", body=DEFINITION)
    assert made.returncode == 0, made.stderr
    told = run("wait", "--for=condition=Established", "crd/crontabs.stable.example.com")
    assert told.returncode == 0, told.stderr
    yield run
    run("delete", "crd", "crontabs.stable.example.com", "--ignore-not-found")


def test_a_kind_is_learned_and_served_as_any_other(kubectl: Kubectl) -> None:
    made = kubectl("apply", "-f", "-", body=crontab("a"))
    assert made.stdout == "crontab.stable.example.com/a created\n", made.stderr

    table = kubectl("get", "ct").stdout.splitlines()
    wide = kubectl("get", "all", "-o", "wide").stdout
    spec = json.loads(kubectl("get", "ct", "a", "-o", "json").stdout)["spec"]
    told = kubectl("explain", "crontab.spec").stdout
    listed = kubectl("api-resources", "--api-group=stable.example.com").stdout

    assert table[0].split() == ["NAME", "SPEC", "REPLICAS"]
    assert "busybox" in wide
    assert spec == {"cronSpec": "* * * * */5", "image": "busybox", "replicas": 1}
    assert "cronSpec\t<string> -required-" in told
    assert "When it runs." in told
    assert "crontabs" in listed


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"replicas": 11}, "spec: Invalid value: at most ten"),
        ({"cronSpec": "1 * * * *"}, "spec: Invalid value: cronSpec stays"),
        ({"replicas": 0}, "spec.replicas in body should be greater than or equal to 1"),
        ({"replicas": "x"}, 'spec.replicas in body must be of type integer: "string"'),
        ({"cronSpec": None}, "spec.cronSpec: Required value"),
    ],
)
def test_what_the_schema_refuses(kubectl: Kubectl, patch: dict[str, Any], words: str) -> None:
    kubectl("apply", "-f", "-", body=crontab("a"))

    told = kubectl("patch", "ct", "a", "--type=merge", "-p", json.dumps({"spec": patch}))

    assert told.returncode == 1
    assert words in told.stderr


def test_unknown_fields_are_refused_warned_of_or_dropped(kubectl: Kubectl) -> None:
    body = crontab("a", typo=1)
    strict = kubectl("create", "-f", "-", body=body)
    warned = kubectl("create", "--validate=warn", "-f", "-", body=body)
    ignored = kubectl("create", "--validate=ignore", "-f", "-", body=crontab("b", typo=1))

    assert 'unknown field "spec.typo"' in strict.stderr
    assert 'Warning: unknown field "spec.typo"' in warned.stderr
    assert (ignored.returncode, ignored.stderr) == (0, "")
    for name in ("a", "b"):
        assert "typo" not in kubectl("get", "ct", name, "-o", "json").stdout


def test_scale_status_and_generation(kubectl: Kubectl, bessemer: harness.Running) -> None:
    kubectl("apply", "-f", "-", body=crontab("a"))
    assert kubectl("scale", "ct/a", "--replicas=3").returncode == 0
    status = {"status": {"replicas": 2}}
    kubectl("patch", "ct", "a", "--subresource=status", "--type=merge", "-p", json.dumps(status))

    scale = bessemer.get(f"{CRONTABS}/a/scale")
    found = bessemer.get(f"{CRONTABS}/a")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 2)
    assert (found["metadata"]["generation"], found["status"]) == (2, {"replicas": 2})
    kubectl("patch", "ct", "a", "--type=merge", "-p", json.dumps({"status": {"replicas": 9}}))
    assert bessemer.get(f"{CRONTABS}/a")["status"] == {"replicas": 2}


def test_one_object_has_each_served_version(kubectl: Kubectl, bessemer: harness.Running) -> None:
    kubectl("apply", "-f", "-", body=crontab("a"))
    new = {
        **crontab("b", cronSpec="any", more={"x": 1}),
        "apiVersion": "stable.example.com/v1beta1",
    }
    assert kubectl("apply", "-f", "-", body=new).returncode == 0

    second = CRONTABS.replace("/v1/", "/v1beta1/")
    found = {one["metadata"]["name"]: one for one in bessemer.get(second)["items"]}
    assert {one["apiVersion"] for one in found.values()} == {"stable.example.com/v1beta1"}
    assert found["b"]["spec"]["more"] == {"x": 1}
    assert bessemer.get(f"{CRONTABS}/b")["apiVersion"] == "stable.example.com/v1"
    stored = bessemer.get(f"{DEFINITIONS}/crontabs.stable.example.com")["status"]
    assert stored["storedVersions"] == ["v1"]


def test_fields_select_and_server_side_apply_merges(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=crontab("a"))
    kubectl("apply", "-f", "-", body=crontab("b", image="other"))
    named = ("get", "ct", "-o", "name", "--field-selector")

    assert kubectl(*named, "spec.image=other").stdout == "crontab.stable.example.com/b\n"
    theirs = kubectl("apply", "--server-side", "--field-manager=me", "-f", "-",
                     body=crontab("b", image="mine"))  # fmt: skip
    assert "conflict" in theirs.stderr
    assert ".spec.image" in theirs.stderr
    forced = kubectl("apply", "--server-side", "--field-manager=me", "--force-conflicts", "-f",
                     "-", body=crontab("b", image="mine"))  # fmt: skip
    assert forced.returncode == 0, forced.stderr
    assert kubectl(*named, "spec.image=mine").stdout == "crontab.stable.example.com/b\n"


def test_owners_and_namespaces_take_them_along(
    kubectl: Kubectl, bessemer: harness.Running
) -> None:
    bessemer.create("/api/v1/namespaces", {"metadata": {"name": "going"}})
    there = CRONTABS.replace("/default/", "/going/")
    bessemer.create(there, {"metadata": {"name": "x"}, "spec": {"cronSpec": "* * * * *"}})
    owner = bessemer.create(CRONTABS, crontab("owner"))
    reference = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "name": "owner",
                 "uid": owner["metadata"]["uid"]}  # fmt: skip
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    bessemer.create("/api/v1/namespaces/default/configmaps", owned)

    bessemer.delete("/api/v1/namespaces/going")
    bessemer.delete(f"{CRONTABS}/owner")
    bessemer.until(
        "/api/v1/namespaces", lambda found: all(n["metadata"]["name"] != "going" for n in found)
    )
    bessemer.until(
        "/api/v1/namespaces/default/configmaps",
        lambda found: all(one["metadata"]["name"] != "owned" for one in found),
    )
    assert bessemer.get(CRONTABS)["items"] == []


def test_a_deleted_definition_takes_its_objects_and_its_kind(
    kubectl: Kubectl, bessemer: harness.Running
) -> None:
    kubectl("apply", "-f", "-", body=crontab("a"))
    assert kubectl("delete", "crd", "crontabs.stable.example.com").returncode == 0

    assert bessemer.request("GET", CRONTABS)[0] == 404
    made = kubectl("apply", "-f", "-", body=DEFINITION)
    assert made.returncode == 0
    kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com")
    assert bessemer.get(CRONTABS)["items"] == []


def test_a_definition_that_is_none_is_refused_and_anothers_names_are_not_taken(
    kubectl: Kubectl, bessemer: harness.Running
) -> None:
    spec = DEFINITION["spec"]
    assert isinstance(spec, dict)
    broken = {**DEFINITION, "metadata": {"name": "wrong.stable.example.com"}}
    told = kubectl("create", "-f", "-", body=broken)
    assert 'must be spec.names.plural+"."+spec.group' in told.stderr
    names = {"plural": "tabs", "kind": "Tab", "shortNames": ["ct"]}
    other = {**DEFINITION, "metadata": {"name": "tabs.stable.example.com"},
             "spec": {**spec, "names": names}}  # fmt: skip
    assert kubectl("create", "-f", "-", body=other).returncode == 0
    (found,) = bessemer.until(
        f"{DEFINITIONS}?fieldSelector=metadata.name%3Dtabs.stable.example.com",
        lambda found: found and found[0].get("status", {}).get("conditions"),
    )
    told_of = {
        one["type"]: (one["status"], one["reason"]) for one in found["status"]["conditions"]
    }
    assert told_of == {"NamesAccepted": ("False", "Conflict"),
                       "Established": ("False", "NotAccepted")}  # fmt: skip
    assert bessemer.request("GET", "/apis/stable.example.com/v1/tabs")[0] == 404
    kubectl("delete", "crd", "tabs.stable.example.com")


def test_kinds_outlive_a_crash(kubectl: Kubectl, bessemer: harness.Running) -> None:
    kubectl("apply", "-f", "-", body=crontab("a"))
    bessemer.kill9()
    bessemer.restart()

    assert kubectl("get", "ct", "-o", "name").stdout == "crontab.stable.example.com/a\n"


def test_a_tenant_learns_no_kinds_and_uses_those_that_a_role_gives_him(
    kubectl: Kubectl, bessemer: harness.Running
) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    bessemer.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "dev"}})
    request = {"spec": {"expirationSeconds": 3600}}
    account = "/api/v1/namespaces/default/serviceaccounts/dev"
    token = bessemer.create(f"{account}/token", request)["status"]["token"]
    subject = [{"kind": "ServiceAccount", "name": "dev", "namespace": "default"}]
    group = "rbac.authorization.k8s.io"
    edit = {"apiGroup": group, "kind": "ClusterRole", "name": "edit"}
    binding = {"metadata": {"name": "dev"}, "roleRef": edit, "subjects": subject}
    bessemer.create(f"{rbac}/rolebindings", binding)

    assert bessemer.request("POST", DEFINITIONS, DEFINITION, token=token)[0] == 403
    assert bessemer.request("GET", CRONTABS, token=token)[0] == 403
    rule = {"apiGroups": ["stable.example.com"], "resources": ["crontabs"], "verbs": ["list"]}
    bessemer.create(f"{rbac}/roles", {"metadata": {"name": "tabs"}, "rules": [rule]})
    own = {"apiGroup": group, "kind": "Role", "name": "tabs"}
    binding = {"metadata": {"name": "tabs"}, "roleRef": own, "subjects": subject}
    bessemer.create(f"{rbac}/rolebindings", binding)
    assert bessemer.request("GET", CRONTABS, token=token)[0] == 200


def test_our_own_kinds_have_definitions_and_keep_their_rules(
    kubectl: Kubectl, bessemer: harness.Running
) -> None:
    listed = kubectl("get", "crd", "-o", "name").stdout
    told = kubectl("explain", "isvc.spec.predictor.model").stdout
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://x/y", "nonsense": 1}
    isvc = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": {"name": "a"}, "spec": {"predictor": {"model": model}}}  # fmt: skip
    refused = kubectl("create", "-f", "-", body=isvc)

    for name in ("inferenceservices.serving.kserve.io", "servingruntimes.serving.kserve.io",
                 "httproutes.gateway.networking.k8s.io"):  # fmt: skip
        assert f"customresourcedefinition.apiextensions.k8s.io/{name}\n" in listed
        found = bessemer.get(f"{DEFINITIONS}/{name}")["status"]["conditions"]
        assert {one["type"]: one["status"] for one in found}["Established"] == "True"
    assert "storageUri\t<string>" in told
    assert "spec.predictor.model.nonsense" in refused.stderr

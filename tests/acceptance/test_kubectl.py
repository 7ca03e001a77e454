"""Unmodified kubectl against ``bessemer up``: what is there works, what is not is refused at once.

Any kubectl will do; the one that benchmarks/kubernetes_build.py builds is taken first.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import harness

BUILT = Path(__file__).parents[2] / "benchmarks" / ".work" / "kubernetes" / "kubectl"
KUBECTL = str(BUILT) if BUILT.exists() else shutil.which("kubectl")
LIMIT = 90.0  # seconds for one command, on a slow and busy machine

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("kubectl"),
    pytest.mark.skipif(
        KUBECTL is None,
        reason="no kubectl in PATH, and none built by benchmarks/kubernetes_build.py",
    ),
]

APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello, color: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: s3cret}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox
        command: [sh, -c, 'echo "$greeting with $PASSWORD"; exec sleep 600']
        envFrom: [{configMapRef: {name: settings}}]
        env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}]
        ports: [{containerPort: 8080}]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8080}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: busybox, command: [echo, the job ran]}]
"""

CONFIGMAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: %s}
"""


@dataclass(frozen=True)
class Kubectl:
    """kubectl as a user runs it: with what ``bessemer env`` exports, in a namespace."""

    env: dict[str, str]
    folder: Path
    namespace: str = "default"

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """What it printed; the test fails at any other exit code than this."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            env=self.env,
            cwd=self.folder,
        )
        assert done.returncode == code, f"kubectl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def command(self, *arguments: str) -> list[str]:
        """The words to run."""
        return [str(KUBECTL), f"--namespace={self.namespace}", *arguments]

    def read(self, *arguments: str) -> Any:
        """What ``get`` finds, parsed."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def editing(self, editor: str) -> Kubectl:
        """The same with another EDITOR."""
        return replace(self, env={**self.env, "EDITOR": editor})

    def until(self, holds: Callable[[list[str]], bool], *arguments: str) -> list[str]:
        """The lines of a command that goes on, once that holds of them; it is ended then."""
        process = subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, text=True, env=self.env
        )
        timer = threading.Timer(LIMIT, process.kill)
        timer.start()
        lines: list[str] = []
        try:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    lines.append(line.rstrip("\n"))
                    if holds(lines):
                        return lines
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        raise AssertionError(f"kubectl {arguments} ended or hung at {lines}")


@pytest.fixture(scope="module")
def admin(bessemer: harness.Running, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """In namespace default, with an empty HOME: nothing but the exports leads to the server."""
    told = harness.run("env", "--home", str(bessemer.home))
    words = shlex.split(told.out)
    exports = dict(word.split("=", 1) for word in words if "=" in word)
    folder = tmp_path_factory.mktemp("work")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **exports}
    return Kubectl(env, folder)


@pytest.fixture
def kubectl(admin: Kubectl, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubectl]:
    """In a namespace of the test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    admin("create", "namespace", name)
    yield replace(admin, namespace=name, folder=tmp_path)
    admin("delete", "namespace", name, "--wait=false")


@pytest.fixture
def app(kubectl: Kubectl) -> Kubectl:
    """The manifest applied and rolled out."""
    (kubectl.folder / "app.yaml").write_text(APP)
    kubectl("apply", "-f", "app.yaml")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return kubectl


def test_what_the_server_is(admin):
    version = re.search(r"Server Version: (\S+)", admin("version"))
    assert version is not None
    assert "bessemer" in version[1]
    assert "is running at https://127.0.0.1" in admin("cluster-info")
    assert admin("config", "current-context").strip() == "bessemer"
    assert "bessemer:admin" in admin("auth", "whoami")
    kinds = admin("api-resources", "-o", "name").split()
    assert {"pods", "deployments.apps", "jobs.batch"} <= set(kinds)
    assert "inferenceservices.serving.kserve.io" in kinds
    assert "serving.kserve.io/v1beta1" in admin("api-versions")
    assert admin("get", "--raw", "/readyz") == "ok"
    told = admin("explain", "pod.spec")
    assert re.search(r"containers\s+<\[\]Container>", told)
    assert 'field "nope" does not exist' in admin("explain", "pod.spec.nope", code=1)


def test_a_manifest_is_applied_and_applied_again(app):
    again = app("apply", "-f", "app.yaml")
    for name in ("configmap/settings", "deployment.apps/web", "service/web", "job.batch/once"):
        assert f"{name} unchanged" in again
    (app.folder / "app.yaml").write_text(APP.replace("replicas: 2", "replicas: 1"))
    assert "deployment.apps/web configured" in app("apply", "-f", "app.yaml")
    assert app("get", "deployment/web", "-o", "jsonpath={.spec.replicas}") == "1"
    app("wait", "--for=condition=complete", "job/once", "--timeout=60s")
    deleted = app("delete", "-f", "app.yaml")
    assert deleted.count(" deleted") == 6
    assert "No resources found" in app("get", "deployments,jobs,services,persistentvolumeclaims")


def test_get_in_every_output(app):
    table = app("get", "deployment", "web").splitlines()
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:4] == ["web", "2/2", "2", "2"]
    wide = app("get", "pods", "-l", "app=web", "-o", "wide")
    assert wide.count("bessemer") == 2  # the node
    assert "kind: Deployment" in app("get", "deployment/web", "-o", "yaml")
    assert app.read("configmap", "settings")["data"] == {"greeting": "hello", "color": "blue"}
    assert app("get", "service", "-o", "name") == "service/web\n"
    column = app("get", "pods", "-l", "app=web", "-o", "custom-columns=PHASE:.status.phase")
    assert column.split() == ["PHASE", "Running", "Running"]
    path = "jsonpath={.items[*].metadata.labels.app}"
    assert app("get", "pods", "-l", "app=web", "-o", path) == "web web"
    assert "app=web" in app("get", "deployment", "--show-labels")
    everything = app("get", "all")
    for kind in (
        "pod/web-",
        "service/web",
        "deployment.apps/web",
        "replicaset.apps/",
        "job.batch",
    ):
        assert kind in everything
    runtimes = app("get", "servingruntimes", "--all-namespaces").split()
    assert runtimes[:2] == ["NAMESPACE", "NAME"]
    assert "bessemer-sklearn" in runtimes
    assert 'pods "nobody" not found' in app("get", "pod", "nobody", code=1)
    assert "doesn't have a resource type" in app("get", "statefulsets", code=1)


def test_describe(app):
    pod = app("describe", "pods", "-l", "app=web")
    assert "ConfigMap  Optional: false" in pod
    assert "<set to the key 'password' in secret 'keys'>" in pod
    assert "s3cret" not in pod
    one = app("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    assert "Started container main" in app("describe", one)
    deployment = app("describe", "deployment", "web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in deployment
    assert "Scaled up replica set web-" in deployment
    app("wait", "--for=condition=complete", "job/once", "--timeout=60s")
    assert "0 Active (0 Ready) / 1 Succeeded / 0 Failed" in app("describe", "job", "once")
    node = app("describe", "node")
    assert "KubeletReady" in node
    assert app.namespace in node  # among the pods that it runs
    assert "password:  6 bytes" in app("describe", "secret", "keys")
    assert "TargetPort:" in app("describe", "service", "web")


def test_logs(app):
    assert app("logs", "job/once", "-f") == "the job ran\n"  # it ends with the pod
    assert "hello with s3cret" in app("logs", "deployment/web", "-c", "main", "--tail=1")
    told = app("logs", "-l", "app=web", "--prefix", "--tail=-1").splitlines()
    assert len(told) == 2
    assert all(line.startswith("[pod/web-") for line in told)
    assert "container nope is not valid for pod" in app(
        "logs", "deployment/web", "-c", "nope", code=1
    )
    assert 'pods "nobody" not found' in app("logs", "nobody", code=1)
    # It follows a container that runs on.
    app.until(lambda lines: lines == ["hello with s3cret"], "logs", "-f", "deployment/web")


def test_logs_of_the_attempt_before(kubectl):
    script = "import os, time; print(time.time_ns()); raise SystemExit(3)"
    kubectl("run", "crash", "--image=python:3.11", "--", "python", "-c", script)
    restarted = "jsonpath={.status.containerStatuses[0].restartCount}=1"
    kubectl("wait", f"--for={restarted}", "pod/crash", "--timeout=60s")
    before = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff"
    kubectl("wait", f"--for={before}", "pod/crash", "--timeout=60s")
    assert kubectl("logs", "crash", "--previous").strip().isdigit()
    assert "CrashLoopBackOff" in kubectl("get", "pod", "crash")
    told = kubectl("describe", "pod", "crash")
    assert re.search(r"Last State:\s+Terminated\s+Reason:\s+Error\s+Exit Code:\s+3", told)


def test_a_rollout_and_its_history(app):
    app("set", "env", "deployment/web", "STAGE=two")
    assert "successfully rolled out" in app("rollout", "status", "deployment/web", "--timeout=90s")
    history = app("rollout", "history", "deployment/web")
    assert re.findall(r"^(\d)\s", history, re.M) == ["1", "2"]
    app("annotate", "deployment/web", "kubernetes.io/change-cause=stage two")
    app.until(
        lambda lines: lines[-1] == "stage two",
        *("get", "replicasets", "--watch", "-o"),
        "jsonpath={.metadata.annotations.kubernetes\\.io/change-cause}{'\\n'}",
    )
    assert "stage two" in app("rollout", "history", "deployment/web")
    assert "STAGE:" in app("rollout", "history", "deployment/web", "--revision=2")
    app("rollout", "undo", "deployment/web")
    app("rollout", "status", "deployment/web", "--timeout=90s")
    names = "jsonpath={.spec.template.spec.containers[0].env[*].name}"
    assert app("get", "deployment/web", "-o", names) == "PASSWORD"
    refused = app("rollout", "undo", "deployment/web", "--to-revision=99", code=1)
    assert "unable to find specified revision 99" in refused
    before = set(app("get", "pods", "-l", "app=web", "-o", "name").split())
    app("rollout", "restart", "deployment/web")
    app("rollout", "status", "deployment/web", "--timeout=90s")
    app("wait", "--for=delete", *before, "--timeout=60s")
    assert not before & set(app("get", "pods", "-l", "app=web", "-o", "name").split())


def test_scale(app):
    app("scale", "deployment/web", "--replicas=3")
    app("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(app("get", "pods", "-l", "app=web", "-o", "name").split()) == 3
    refused = app("scale", "deployment/web", "--current-replicas=9", "--replicas=1", code=1)
    assert "9" in refused
    app("scale", "deployment/web", "--replicas=0")
    app("wait", "--for=delete", "pods", "-l", "app=web", "--timeout=60s")
    assert app.read("deployment", "web")["spec"]["replicas"] == 0


def test_scale_while_a_rollout_is_under_way(app):
    app("scale", "deployment/web", "--replicas=3")
    app("rollout", "status", "deployment/web", "--timeout=60s")
    app("set", "env", "deployment/web", "STAGE=two")
    app("scale", "deployment/web", "--replicas=2")
    app("rollout", "status", "deployment/web", "--timeout=90s")
    app("wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=60s")
    status = app.read("deployment", "web")["status"]
    assert (status["updatedReplicas"], status["availableReplicas"]) == (2, 2)


def test_label_annotate_and_three_kinds_of_patch(app):
    app("label", "deployment", "web", "tier=front")
    assert "--overwrite is false" in app("label", "deployment", "web", "tier=back", code=1)
    app("label", "deployment", "web", "tier-")
    app("annotate", "configmap", "settings", "note=seen")
    merge = '{"data": {"color": "red", "greeting": null}}'
    app("patch", "configmap", "settings", "--type=merge", "-p", merge)
    found = app.read("configmap", "settings")
    assert found["data"] == {"color": "red"}
    assert found["metadata"]["annotations"]["note"] == "seen"
    steps = [
        {"op": "test", "path": "/data/color", "value": "red"},
        {"op": "add", "path": "/data/greeting", "value": "hello"},
    ]
    app("patch", "configmap", "settings", "--type=json", "-p", json.dumps(steps))
    steps[0]["value"] = "blue"
    refusal = app("patch", "configmap", "settings", "--type=json", "-p", json.dumps(steps), code=1)
    assert "The request is invalid: the server rejected our request due to an error in" in refusal
    assert "/data/color failed" in refusal
    assert app.read("configmap", "settings")["data"] == {"color": "red", "greeting": "hello"}
    extra = {"containers": [{"name": "main", "env": [{"name": "EXTRA", "value": "1"}]}]}
    app("patch", "deployment", "web", "-p", json.dumps({"spec": {"template": {"spec": extra}}}))
    container = app.read("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert [entry["name"] for entry in container["env"]] == ["EXTRA", "PASSWORD"]
    assert container["image"] == "busybox"


def test_edit(kubectl):
    kubectl("create", "-f", "-", stdin=CONFIGMAP % "hello")
    assert "edited" in kubectl.editing("sed -i s/hello/hallo/")("edit", "configmap", "settings")
    assert kubectl.read("configmap", "settings")["data"] == {"greeting": "hallo"}
    told = kubectl.editing("true")("edit", "configmap", "settings")
    assert "no changes made" in told


def test_delete_with_its_dependents_or_without(app):
    app("delete", "deployment", "web", "--cascade=orphan")
    assert app("get", "replicasets", "-o", "name").count("replicaset") == 1
    assert app("get", "pods", "-l", "app=web", "-o", "name").count("pod/") == 2
    app("apply", "-f", "app.yaml")  # it adopts them
    app("rollout", "status", "deployment/web", "--timeout=60s")
    assert app("get", "replicasets", "-o", "name").count("replicaset") == 1
    app("delete", "deployment", "web", "--cascade=foreground")
    assert "No resources found" in app("get", "replicasets")
    assert "No resources found" in app("get", "pods", "-l", "app=web")
    refused = app("delete", "deployment", "web", code=1)
    assert 'deployments.apps "web" not found' in refused
    assert app("delete", "deployment", "web", "--ignore-not-found") == ""


def test_who_may_do_what(kubectl, bessemer):
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    account = f"{kubectl.namespace}:robot"
    kubectl("create", "rolebinding", "robot", "--role=reader", f"--serviceaccount={account}")
    token = kubectl("create", "token", "robot", "--duration=10m").strip()
    assert bessemer.request("GET", f"/api/v1/namespaces/{kubectl.namespace}/pods", token=token)[
        0
    ] == 200  # fmt: skip
    robot = f"--as=system:serviceaccount:{account}"
    assert kubectl("auth", "can-i", "list", "pods", robot) == "yes\n"
    assert kubectl("auth", "can-i", "list", "secrets", robot, code=1).startswith("no")
    assert re.search(r"^pods .*\[get list\]", kubectl("auth", "can-i", "--list", robot), re.M)
    assert kubectl("auth", "can-i", "list", "pods", robot, "-n", "kubeflow", code=1)[:2] == "no"
    refused = kubectl("get", "secrets", robot, code=1)
    assert 'secrets is forbidden: User "system:serviceaccount:' in refused
    assert '"nobody" not found' in kubectl("create", "token", "nobody", code=1)


def test_events(app):
    told = app("get", "events", "--field-selector=involvedObject.name=web")
    assert "ScalingReplicaSet" in told
    assert "SuccessfulCreate" in app("events", "--for", "job/once")


def test_diff_and_dry_run_change_nothing(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIGMAP % "hello")
    assert kubectl("diff", "-f", "-", stdin=CONFIGMAP % "hello") == ""
    told = kubectl("diff", "-f", "-", stdin=CONFIGMAP % "hallo", code=1)
    assert "-  greeting: hello\n+  greeting: hallo\n" in told
    for where in ("client", "server"):
        dry = kubectl("apply", f"--dry-run={where}", "-f", "-", stdin=CONFIGMAP % "hallo")
        assert "settings configured" in dry
    assert kubectl.read("configmap", "settings")["data"] == {"greeting": "hello"}


def test_kustomize(kubectl):
    (kubectl.folder / "base.yaml").write_text(CONFIGMAP % "hello")
    (kubectl.folder / "kustomization.yaml").write_text(
        "namePrefix: my-\nresources: [base.yaml]\n"
        "configMapGenerator: [{name: more, literals: [a=b]}]\n"
    )
    assert "configmap/my-settings created" in kubectl("apply", "-k", ".")
    names = kubectl("get", "configmaps", "-o", "name")
    assert re.search(r"configmap/my-more-[a-z0-9]{10}\n", names)
    kubectl("delete", "-k", ".")
    assert "my-" not in kubectl("get", "configmaps", "-o", "name")


def managers(kubectl: Kubectl, *what: str) -> dict[tuple[str, str], Any]:
    """The fields of each manager, by its name and operation."""
    told = json.loads(kubectl("get", *what, "-o", "json", "--show-managed-fields"))
    entries = told["metadata"].get("managedFields", ())
    return {(each["manager"], each["operation"]): each["fieldsV1"] for each in entries}


def test_server_side_apply_conflicts_and_force(kubectl):
    text = CONFIGMAP % "hello"
    made = kubectl("apply", "--server-side", "-f", "-", stdin=text)
    assert "configmap/settings serverside-applied" in made
    version = kubectl.read("configmap/settings")["metadata"]["resourceVersion"]
    kubectl("apply", "--server-side", "-f", "-", stdin=text)
    assert kubectl.read("configmap/settings")["metadata"]["resourceVersion"] == version
    assert "managedFields" not in kubectl("get", "configmap/settings", "-o", "yaml")
    assert managers(kubectl, "configmap/settings") == {
        ("kubectl", "Apply"): {"f:data": {"f:greeting": {}}}
    }

    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = kubectl(*other, stdin=CONFIGMAP % "bye", code=1)
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.greeting' in refused
    assert "--force-conflicts" in refused, "kubectl knows the conflict and tells the cures"
    kubectl(*other, "--force-conflicts", stdin=CONFIGMAP % "bye")
    assert kubectl.read("configmap/settings")["data"] == {"greeting": "bye"}
    assert managers(kubectl, "configmap/settings").keys() == {("other", "Apply")}


def test_from_client_side_to_server_side_apply(app):
    web = app.read("deployment/web")
    assert managers(app, "deployment/web").keys() >= {("kubectl-client-side-apply", "Update")}

    app("apply", "--server-side", "-f", "app.yaml")
    moved = managers(app, "deployment/web")
    assert ("kubectl", "Apply") in moved
    assert ("kubectl-client-side-apply", "Update") not in moved
    assert app.read("deployment/web")["spec"] == web["spec"]

    changed = APP.replace("replicas: 2", "replicas: 1").replace(
        "labels: {app: web}}\nspec", "}\nspec"
    )
    app("apply", "--server-side", "-f", "-", stdin=changed)
    found = app.read("deployment/web")
    assert found["spec"]["replicas"] == 1
    assert "labels" not in found["metadata"], "what is stated no more is gone"
    app("scale", "deployment/web", "--replicas=2")
    refused = app("apply", "--server-side", "-f", "-", stdin=changed, code=1)
    assert 'with subresource "scale" using apps/v1: .spec.replicas' in refused
    app("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=changed)
    app("rollout", "status", "deployment/web", "--timeout=60s")


@pytest.mark.skipif(shutil.which("diff") is None, reason="no diff in PATH, which kubectl runs")
def test_diff_tells_what_an_apply_would_change(kubectl):
    for words in ((), ("--server-side",)):
        kubectl("apply", *words, "-f", "-", stdin=CONFIGMAP % "hello")
        assert kubectl("diff", *words, "-f", "-", stdin=CONFIGMAP % "hello") == ""
        told = kubectl("diff", *words, "-f", "-", stdin=CONFIGMAP % "bye", code=1)
        assert "-  greeting: hello\n+  greeting: bye" in told
        assert kubectl.read("configmap/settings")["data"] == {"greeting": "hello"}
        kubectl("delete", "configmap/settings")


def test_watch_sees_what_comes(kubectl):
    kubectl("create", "configmap", "first")

    def holds(lines: list[str]) -> bool:
        if lines[-1] == "configmap/first":
            kubectl("create", "configmap", "second")
        return lines[-1] == "configmap/second"

    lines = kubectl.until(holds, "get", "configmaps", "--watch", "-o", "name")
    assert lines.index("configmap/first") < lines.index("configmap/second")


def test_run_to_its_end_and_wait(kubectl):
    words = ("--image=python:3.11", "--restart=Never", "--", "python", "-c", "print(6 * 7)")
    kubectl("run", "answer", *words)
    done = "jsonpath={.status.phase}=Succeeded"
    kubectl("wait", f"--for={done}", "pod/answer", "--timeout=60s")
    assert kubectl("logs", "answer") == "42\n"
    assert "already exists" in kubectl("run", "answer", *words, code=1)
    refused = kubectl("wait", "--for=condition=Ready", "pod/answer", "--timeout=1s", code=1)
    assert "timed out waiting" in refused
    kubectl("run", "strange", "--image=no.such/image:1", "--restart=Never")
    waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    kubectl("wait", f"--for={waiting}", "pod/strange", "--timeout=60s")
    assert "images from registries are not pulled yet" in kubectl("describe", "pod", "strange")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("top pods", "Metrics API not available"),
        ("top nodes", "Metrics API not available"),
        ("apply --server-side -f -", ".datta: field not declared in schema"),
        ("create -f - --validate=strict", 'unknown field "datta"'),
        ("logs idle --timestamps", "leave out --timestamps"),
        ("create cronjob c --image=busybox --schedule=@daily", "could not find the requested"),
        ("debug idle --image=busybox", "ephemeral containers are disabled for this cluster"),
    ],
)
def test_what_is_not_there_is_refused(refusing, words, reason):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndatta: {}\n"
    assert reason in refusing(*words.split(), stdin=text, code=1)


def test_a_kind_that_is_not_there_is_named(kubectl):
    text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: odd}\nspec: {}\n"
    told = kubectl("apply", "-f", "-", stdin=text, code=1)
    assert 'no matches for kind "StatefulSet" in version "apps/v1"' in told


@pytest.mark.parametrize(
    "words",
    ["exec idle -- true", "attach idle", "port-forward idle :8080", "cp idle:/etc/hosts copy"],
)
def test_what_needs_a_stream_is_refused_at_once(refusing, words):
    assert "is not served on one machine yet" in refusing(*words.split(), code=1)


@pytest.fixture(scope="module")
def refusing(admin: Kubectl) -> Kubectl:
    """In a namespace with a pod ``idle`` that runs."""
    admin("create", "namespace", "refusing")
    kubectl = replace(admin, namespace="refusing")
    kubectl("run", "idle", "--image=busybox", "--", "sleep", "600")
    kubectl("wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    return kubectl

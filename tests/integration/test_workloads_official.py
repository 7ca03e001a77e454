"""Kubernetes' own workloads through the real API server, by the official client."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

import harness

_HEAD = """
import json, sys
from kubernetes import client, config, watch
config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
discovery = client.DiscoveryV1Api()
NS = sys.argv[1]

def until(list_, holds, **options):
    stream = watch.Watch()
    seen = {}
    found = list_(NS, **options)
    for one in found.items:
        seen[one.metadata.uid] = one
    if holds(list(seen.values())):
        return list(seen.values())
    for event in stream.stream(list_, NS, resource_version=found.metadata.resource_version,
                               timeout_seconds=60, **options):
        one = event["object"]
        if event["type"] == "DELETED":
            seen.pop(one.metadata.uid, None)
        else:
            seen[one.metadata.uid] = one
        if holds(list(seen.values())):
            stream.stop()
            return list(seen.values())
    sys.exit(f"never held: {list(seen.values())}")

def pod_spec(command, **more):
    return {"containers": [{"name": "main", "image": "busybox", "command": command}], **more}

def job(name, command, **spec):
    body = {"metadata": {"name": name}, "spec": {
        "template": {"spec": pod_spec(command, restartPolicy="Never")}, **spec}}
    return batch.create_namespaced_job(NS, body)

def ended(name, type_):
    def holds(jobs):
        return any(j.metadata.name == name and c.type == type_ and c.status == "True"
                   for j in jobs for c in j.status.conditions or [])
    until(batch.list_namespaced_job, holds)
    return batch.read_namespaced_job(name, NS)

def deployment(replicas, version, **spec):
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels, "annotations": {"version": version}},
                "spec": pod_spec(["sleep", "600"], terminationGracePeriodSeconds=1)}
    return {"metadata": {"name": "web"}, "spec": {"replicas": replicas,
            "selector": {"matchLabels": labels}, "template": template, **spec}}

def rolled_out(generation, replicas):
    def holds(found):
        status = found[0].status if found else None
        return bool(status and (status.observed_generation or 0) >= generation
            and (status.updated_replicas or 0) == (status.available_replicas or 0)
            == (status.replicas or 0) == replicas)
    return until(apps.list_namespaced_deployment, holds)[0]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path_factory.mktemp("workloads")) as one:
        yield one


@pytest.fixture
def namespace(running: harness.Running, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")[:60].strip("-")
    running.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    running.delete(f"/api/v1/namespaces/{name}")


def tell(running: harness.Running, namespace: str, script: str) -> dict[str, object]:
    """Run a client script; what it prints last is JSON."""
    told = running.client(_HEAD + script, namespace)
    answer: dict[str, object] = json.loads(told.strip().splitlines()[-1])
    return answer


def test_a_job_runs_to_its_end(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
job("good", ["true"], completions=4, parallelism=2)
done = ended("good", "Complete")
print(json.dumps({"succeeded": done.status.succeeded, "active": done.status.active,
                  "completed": done.status.completion_time is not None}))
""",
    )

    assert told == {"succeeded": 4, "active": None, "completed": True}


def test_a_job_gives_up(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
job("bad", ["false"], backoffLimit=0)
job("slow", ["sleep", "600"], activeDeadlineSeconds=1)
bad, slow = ended("bad", "Failed"), ended("slow", "Failed")
reasons = [next(c.reason for c in j.status.conditions if c.type == "Failed") for j in (bad, slow)]
print(json.dumps({"failed": bad.status.failed, "reasons": reasons}))
""",
    )

    assert told == {"failed": 1, "reasons": ["BackoffLimitExceeded", "DeadlineExceeded"]}


def test_an_indexed_job_tells_each_pod_its_index(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
job("rows", ["sh", "-c", "echo $JOB_COMPLETION_INDEX"], completions=3, parallelism=3,
    completionMode="Indexed")
done = ended("rows", "Complete")
pods = core.list_namespaced_pod(NS, label_selector="job-name=rows").items
said = sorted(core.read_namespaced_pod_log(p.metadata.name, NS).strip() for p in pods)
print(json.dumps({"indexes": done.status.completed_indexes, "said": said}))
""",
    )

    assert told == {"indexes": "0-2", "said": ["0", "1", "2"]}


def test_job_policies_decide_how_a_job_ends(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
def ends(name):
    status = batch.read_namespaced_job(name, NS).status
    return [[c.type, c.reason] for c in status.conditions if c.status == "True"]

fatal = {"rules": [{"action": "FailJob",
                    "onExitCodes": {"operator": "In", "values": [42]}}]}
job("fatal", ["sh", "-c", "exit 42"], podFailurePolicy=fatal, backoffLimit=9)
by_index = "test $JOB_COMPLETION_INDEX = 0 || exit 3"
job("some", ["sh", "-c", by_index], completions=3, parallelism=3, completionMode="Indexed",
    backoffLimitPerIndex=0)
early = "test $JOB_COMPLETION_INDEX = 1 || sleep 600"
job("early", ["sh", "-c", early], completions=3, parallelism=3, completionMode="Indexed",
    successPolicy={"rules": [{"succeededIndexes": "1"}]})
job("foreign", ["true"], managedBy="acme.io/queue")
ended("fatal", "Failed"), ended("some", "Failed"), ended("early", "Complete")
some = batch.read_namespaced_job("some", NS).status
early = batch.read_namespaced_job("early", NS).status
print(json.dumps({
    "fatal": ends("fatal"), "some": ends("some"), "early": ends("early"),
    "indexes": [some.completed_indexes, some.failed_indexes, some.failed],
    "succeeded": [early.succeeded, early.failed, early.terminating, early.ready],
    "foreign": batch.read_namespaced_job("foreign", NS).status.to_dict()["start_time"],
}))
""",
    )

    assert told == {
        "fatal": [["FailureTarget", "PodFailurePolicy"], ["Failed", "PodFailurePolicy"]],
        "some": [["FailureTarget", "FailedIndexes"], ["Failed", "FailedIndexes"]],
        "early": [["SuccessCriteriaMet", "SuccessPolicy"], ["Complete", "SuccessPolicy"]],
        "indexes": ["0", "1,2", 2],
        "succeeded": [1, None, 0, 0],
        "foreign": None,
    }


def test_a_suspended_job_waits_and_its_ended_pods_are_no_failures(
    running: harness.Running, namespace: str
) -> None:
    told = tell(
        running,
        namespace,
        """
marked = "trap 'exit 1' TERM; sleep 600 & wait"
job("later", ["sh", "-c", marked], suspend=True, backoffLimit=0)
def suspended(value):
    return lambda jobs: any(c.type == "Suspended" and c.status == value
                            for j in jobs for c in j.status.conditions or [])
until(batch.list_namespaced_job, suspended("True"))
none = len(core.list_namespaced_pod(NS).items)
batch.patch_namespaced_job("later", NS, {"spec": {"suspend": False}})
until(core.list_namespaced_pod, lambda pods: any(p.status.phase == "Running" for p in pods))
batch.patch_namespaced_job("later", NS, {"spec": {"suspend": True}})
until(core.list_namespaced_pod, lambda pods: not pods)
until(batch.list_namespaced_job, lambda jobs: suspended("True")(jobs)
      and not jobs[0].status.active and not jobs[0].status.terminating)
status = batch.read_namespaced_job("later", NS).status
print(json.dumps({"none": none, "failed": status.failed, "start": status.start_time,
                  "types": [c.type for c in status.conditions]}))
""",
    )

    assert told == {"none": 0, "failed": None, "start": None, "types": ["Suspended"]}


def test_a_job_takes_pods_in_and_lets_them_go(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
job("herd", ["sleep", "600"], parallelism=2, completions=2)
two = until(core.list_namespaced_pod, lambda pods: len(pods) == 2)
name, uid = two[0].metadata.name, two[0].metadata.owner_references[0].uid
core.patch_namespaced_pod(name, NS, {"metadata": {"ownerReferences": None}})
owned = lambda pods: sum(bool(p.metadata.owner_references) for p in pods)
until(core.list_namespaced_pod, lambda pods: len(pods) == 2 and owned(pods) == 2)
strip = {"batch.kubernetes.io/controller-uid": None}
core.patch_namespaced_pod(name, NS, {"metadata": {"labels": strip}})
three = until(core.list_namespaced_pod, lambda pods: len(pods) == 3 and owned(pods) == 2)
stranger = next(p for p in three if p.metadata.name == name)
options = client.V1DeleteOptions(propagation_policy="Orphan")
batch.delete_namespaced_job("herd", NS, body=options)
left = until(core.list_namespaced_pod, lambda pods: not owned(pods)
             and not any(p.metadata.finalizers for p in pods))
until(batch.list_namespaced_job, lambda jobs: not jobs)
ending = sum(bool(p.metadata.deletion_timestamp) for p in left)
print(json.dumps({"stranger": bool(stranger.metadata.finalizers), "left": len(left),
                  "ending": ending}))
""",
    )

    assert told == {"stranger": False, "left": 3, "ending": 0}


def test_a_job_s_broken_rules_are_told(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
def refused(act):
    try:
        act()
    except client.ApiException as error:
        found = json.loads(error.body)
        return [found["code"], [c["field"] for c in found["details"]["causes"]]]

policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
job("fixed", ["true"], podFailurePolicy=policy, suspend=True)
change = {"spec": {"podFailurePolicy": None, "podReplacementPolicy": "Failed"}}
print(json.dumps({
    "default": batch.read_namespaced_job("fixed", NS).spec.pod_failure_policy.rules[0]
        .on_pod_conditions[0].status,
    "index": refused(lambda: job("a", ["true"], backoffLimitPerIndex=1)),
    "fixed": refused(lambda: batch.patch_namespaced_job("fixed", NS, change)),
    "completions": refused(lambda: batch.patch_namespaced_job(
        "fixed", NS, {"spec": {"completions": 5}})),
}))
""",
    )

    assert told == {
        "default": "True",
        "index": [422, ["spec.backoffLimitPerIndex"]],
        "fixed": [422, ["spec.podFailurePolicy"]],
        "completions": [422, ["spec.completions"]],
    }


def test_a_finished_job_goes_when_its_time_is_over(
    running: harness.Running, namespace: str
) -> None:
    told = tell(
        running,
        namespace,
        """
job("brief", ["true"], ttlSecondsAfterFinished=1)
until(batch.list_namespaced_job, lambda jobs: jobs)
until(batch.list_namespaced_job, lambda jobs: not jobs)
print(json.dumps({"pods": len(until(core.list_namespaced_pod, lambda pods: not pods))}))
""",
    )

    assert told == {"pods": 0}


def test_a_deployment_rolls_out_and_back_and_goes(
    running: harness.Running, namespace: str
) -> None:
    told = tell(
        running,
        namespace,
        """
apps.create_namespaced_deployment(NS, deployment(3, "1"))
first = rolled_out(1, 3)
changed = apps.replace_namespaced_deployment("web", NS, deployment(3, "2"))
second = rolled_out(changed.metadata.generation, 3)
sets = {r.metadata.annotations["deployment.kubernetes.io/revision"]: r.spec.replicas
        for r in apps.list_namespaced_replica_set(NS).items}
apps.patch_namespaced_deployment_scale("web", NS, {"spec": {"replicas": 1}})
rolled_out(changed.metadata.generation + 1, 1)
progressing = next(c.reason for c in second.status.conditions if c.type == "Progressing")
apps.delete_namespaced_deployment("web", NS)
until(core.list_namespaced_pod, lambda pods: not pods)
print(json.dumps({"sets": sets, "progressing": progressing,
                  "left": len(apps.list_namespaced_replica_set(NS).items)}))
""",
    )

    assert told == {
        "sets": {"1": 0, "2": 3},
        "progressing": "NewReplicaSetAvailable",
        "left": 0,
    }


def test_kubectl_pauses_undoes_and_tells_a_rollout(
    running: harness.Running, namespace: str
) -> None:
    def kubectl(*arguments: str) -> str:
        done = subprocess.run(
            ["kubectl", "-n", namespace, *arguments],
            capture_output=True, text=True, timeout=60, check=False, env=running.env(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on this machine")
    script = 'apps.create_namespaced_deployment(NS, deployment(2, "1")); print("{}")'
    tell(running, namespace, script)
    kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=first")
    kubectl("rollout", "pause", "deployment/web")
    kubectl("set", "env", "deployment/web", "COLOUR=red")
    kubectl("scale", "deployment/web", "--replicas=3")
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    running.until(path, lambda sets: [s["spec"]["replicas"] for s in sets] == [3])
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=50s")

    history = kubectl("rollout", "history", "deployment/web").split()
    container = running.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert history[-4:] == ["2", "first", "3", "first"]
    assert "env" not in container["spec"]["template"]["spec"]["containers"][0]


def test_a_replicaset_mends_itself_and_adopts(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
labels = {"app": "pair"}
orphan = {"metadata": {"name": "orphan", "labels": labels}, "spec": pod_spec(["sleep", "600"])}
core.create_namespaced_pod(NS, orphan)
body = {"metadata": {"name": "pair"}, "spec": {"replicas": 2, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod_spec(["sleep", "600"])}}}
apps.create_namespaced_replica_set(NS, body)
is_two = lambda sets: sets and (sets[0].status.ready_replicas or 0) == 2
until(apps.list_namespaced_replica_set, is_two)
names = sorted(p.metadata.name for p in core.list_namespaced_pod(NS).items)
owner = core.read_namespaced_pod("orphan", NS).metadata.owner_references[0].name
core.delete_namespaced_pod("orphan", NS, grace_period_seconds=0)
until(core.list_namespaced_pod, lambda pods: sum(
    p.status.phase == "Running" and not p.metadata.deletion_timestamp
    and p.metadata.name != "orphan" for p in pods) == 2)
print(json.dumps({"pods": len(names), "owner": owner}))
""",
    )

    assert told == {"pods": 2, "owner": "pair"}


def test_a_pod_waits_for_a_node_that_takes_it_and_says_why(
    running: harness.Running, namespace: str
) -> None:
    told = tell(
        running,
        namespace,
        """
node = core.list_node().items[0].metadata.name
def make(name, **spec):
    core.create_namespaced_pod(
        NS, {"metadata": {"name": name}, "spec": pod_spec(["sleep", "600"], **spec)})

def why(name):
    def holds(pods):
        return any(p.metadata.name == name and c.type == "PodScheduled" and c.status == "False"
                   for p in pods for c in p.status.conditions or [])
    until(core.list_namespaced_pod, holds)
    found = core.read_namespaced_pod(name, NS).status
    return [found.phase] + [[c.reason, c.message] for c in found.conditions
                            if c.type == "PodScheduled"][0]

def affinity(operator, *values):
    term = {"matchExpressions": [{"key": "bessemer.test/disk", "operator": operator,
                                  "values": list(values)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"nodeAffinity": required}

make("selects", nodeSelector={"bessemer.test/disk": "ssd"})
make("likes", affinity=affinity("In", "ssd", "nvme"))
reasons = {name: why(name) for name in ("selects", "likes")}
try:
    core.patch_node(node, {"spec": {"unschedulable": True}})
    make("later")
    reasons["later"] = why("later")
    core.patch_node(node, {"metadata": {"labels": {"bessemer.test/disk": "ssd"}}})
finally:
    core.patch_node(node, {"spec": {"unschedulable": None}})
until(core.list_namespaced_pod, lambda pods: len(pods) == 3 and all(
    p.status.phase == "Running" for p in pods))
core.patch_node(node, {"metadata": {"labels": {"bessemer.test/disk": None}}})
print(json.dumps(reasons))
""",
    )

    def waits(why: str) -> list[str]:
        return ["Pending", "Unschedulable", f"0/1 nodes are available: 1 node(s) {why}."]

    assert told == {
        "selects": waits("didn't match Pod's node affinity/selector"),
        "likes": waits("didn't match Pod's node affinity/selector"),
        "later": waits("were unschedulable"),
    }


def test_a_service_lists_its_ready_pods(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
core.create_namespaced_service(NS, {"metadata": {"name": "web"}, "spec": {
    "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
apps.create_namespaced_deployment(NS, deployment(2, "1"))
rolled_out(1, 2)
slices = until(discovery.list_namespaced_endpoint_slice,
               lambda found: sum(len(s.endpoints or []) for s in found) == 2,
               label_selector="kubernetes.io/service-name=web")
addresses = sorted(a for s in slices for e in s.endpoints for a in e.addresses)
ips = sorted(p.status.pod_ip for p in core.list_namespaced_pod(NS).items)
core.delete_namespaced_service("web", NS)
until(discovery.list_namespaced_endpoint_slice, lambda found: not found)
print(json.dumps({"same": addresses == ips, "ports": [p.port for p in slices[0].ports]}))
""",
    )

    assert told == {"same": True, "ports": [8080]}


def test_owners_take_dependents_with_them_or_leave_them(
    running: harness.Running, namespace: str
) -> None:
    told = tell(
        running,
        namespace,
        """
def owner(name):
    return core.create_namespaced_config_map(NS, {"metadata": {"name": name}})

def dependent(name, of):
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": of.metadata.name,
                 "uid": of.metadata.uid, "blockOwnerDeletion": True}
    core.create_namespaced_config_map(
        NS, {"metadata": {"name": name, "ownerReferences": [reference]}})

for policy in ("Background", "Foreground", "Orphan"):
    dependent(f"of-{policy.lower()}", owner(policy.lower()))
    core.delete_namespaced_config_map(policy.lower(), NS, propagation_policy=policy)
wanted = {"kube-root-ca.crt", "of-orphan"}
left = until(core.list_namespaced_config_map,
             lambda found: {m.metadata.name for m in found} == wanted)
orphan = core.read_namespaced_config_map("of-orphan", NS)
until(core.list_namespaced_config_map, lambda found: not any(
    m.metadata.owner_references for m in found))
print(json.dumps({"left": sorted(m.metadata.name for m in left)}))
""",
    )

    assert told == {"left": ["kube-root-ca.crt", "of-orphan"]}


def test_strange_owners_hold_nothing_and_nobody(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
def reference(of, **change):
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": of.metadata.name,
            "uid": of.metadata.uid, "blockOwnerDeletion": True, **change}

def make(name, *owners):
    return core.create_namespaced_config_map(
        NS, {"metadata": {"name": name, "ownerReferences": list(owners)}})

def gone(*names):
    until(core.list_namespaced_config_map,
          lambda found: not {m.metadata.name for m in found} & set(names))

live = make("live")
far = core.create_namespaced_config_map("default", {"metadata": {"generateName": "far-"}})
make("of-far", reference(far))
make("of-nobody", reference(live, uid="00000000-0000-0000-0000-000000000000"))
make("of-unknown", {"apiVersion": "acme.io/v1", "kind": "Thing", "name": "t", "uid": "1"})
make("of-both", reference(live), reference(far))
gone("of-far", "of-nobody")
until(core.list_namespaced_config_map, lambda found: any(
    m.metadata.name == "of-both" and len(m.metadata.owner_references) == 1 for m in found))
first = make("first")
second = make("second", reference(first))
core.patch_namespaced_config_map(
    "first", NS, {"metadata": {"ownerReferences": [reference(second)]}})
core.delete_namespaced_config_map("first", NS, propagation_policy="Foreground")
gone("first", "second")
core.delete_namespaced_config_map(far.metadata.name, "default")
left = sorted(m.metadata.name for m in core.list_namespaced_config_map(NS).items)
print(json.dumps({"left": left}))
""",
    )

    assert told == {"left": ["kube-root-ca.crt", "live", "of-both", "of-unknown"]}


def test_a_namespace_that_cannot_go_says_why(running: harness.Running, namespace: str) -> None:
    told = tell(
        running,
        namespace,
        """
name = f"{NS[:50]}-held"
core.create_namespace({"metadata": {"name": name}})
core.create_namespaced_config_map(
    name, {"metadata": {"name": "a", "finalizers": ["acme.io/keep"]}})
core.delete_namespace(name)
stream = watch.Watch()
for event in stream.stream(core.list_namespace, timeout_seconds=60,
                           field_selector=f"metadata.name={name}"):
    conditions = event["object"].status.conditions or []
    if sum(c.status == "True" for c in conditions) == 2:
        stream.stop()
version = core.list_namespace().metadata.resource_version
core.patch_namespaced_config_map("a", name, {"metadata": {"finalizers": None}})
for event in stream.stream(core.list_namespace, timeout_seconds=60, resource_version=version,
                           field_selector=f"metadata.name={name}"):
    if event["type"] == "DELETED":
        stream.stop()
print(json.dumps({c.type: c.message for c in conditions}))
""",
    )

    assert told == {
        "NamespaceContentRemaining": (
            "Some resources are remaining: configmaps. has 1 resource instances"
        ),
        "NamespaceFinalizersRemaining": (
            "Some content in the namespace has finalizers remaining: "
            "acme.io/keep in 1 resource instances"
        ),
    }


def test_a_namespace_has_its_essentials_and_is_emptied(
    running: harness.Running, namespace: str
) -> None:
    told = tell(
        running,
        namespace,
        """
everywhere = client.CoreV1Api()
until(core.list_namespaced_service_account, lambda found: found)
accounts = [a.metadata.name for a in core.list_namespaced_service_account(NS).items]
until(core.list_namespaced_config_map, lambda found: found)
ca = core.read_namespaced_config_map("kube-root-ca.crt", NS).data["ca.crt"]
apps.create_namespaced_deployment(NS, deployment(2, "1"))
job("long", ["sleep", "600"])
until(core.list_namespaced_pod, lambda pods: sum(p.status.phase == "Running" for p in pods) == 3)
version = core.list_namespace().metadata.resource_version
core.delete_namespace(NS)
stream = watch.Watch()
for event in stream.stream(core.list_namespace, timeout_seconds=60, resource_version=version):
    if event["type"] == "DELETED" and event["object"].metadata.name == NS:
        stream.stop()
pods = core.list_namespaced_pod(NS).items
print(json.dumps({"accounts": accounts, "is_ca": "BEGIN CERTIFICATE" in ca, "pods": len(pods)}))
""",
    )

    assert told == {"accounts": ["default"], "is_ca": True, "pods": 0}

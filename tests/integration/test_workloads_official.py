"""Kubernetes' own workloads through the real API server, by the official client."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import harness

_HEAD = """
import json, sys, time
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
began = time.monotonic()
apps.delete_namespaced_deployment("web", NS)
going = until(core.list_namespaced_pod,
              lambda pods: all(p.metadata.deletion_timestamp for p in pods))
took = time.monotonic() - began
until(core.list_namespaced_pod, lambda pods: not pods)
print(json.dumps({"sets": sets, "progressing": progressing, "quick": took < 1.0,
                  "left": len(apps.list_namespaced_replica_set(NS).items)}))
""",
    )

    assert told == {
        "sets": {"1": 0, "2": 3},
        "progressing": "NewReplicaSetAvailable",
        "quick": True,
        "left": 0,
    }


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
core.delete_namespace(NS)
stream = watch.Watch()
for event in stream.stream(core.list_namespace, timeout_seconds=60):
    if event["type"] == "DELETED" and event["object"].metadata.name == NS:
        stream.stop()
pods = core.list_namespaced_pod(NS).items
print(json.dumps({"accounts": accounts, "is_ca": "BEGIN CERTIFICATE" in ca, "pods": len(pods)}))
""",
    )

    assert told == {"accounts": ["default"], "is_ca": True, "pods": 0}

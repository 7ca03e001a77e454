"""Scenarios of a pod's life: how it waits, starts, is probed, ends, and what its status says."""

from kubernetes_scenarios import (
    ENDED,
    core,
    first_lines,
    make_pod,
    play,
    until_ended,
    until_event,
    until_gone,
    until_pod,
)

SLEEP = ["sleep", "600"]
FAST = {"periodSeconds": 1, "timeoutSeconds": 5}
# Answers 200, and 503 on /bad, at the pod's own address.
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/bad" else 200)
        self.end_headers()
http.server.ThreadingHTTPServer((os.environ["IP"], 8080), Handler).serve_forever()
"""
# It and its child, in a session of its own, ignore SIGTERM; both bear the mark.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setsid()
    os.execvp("sleep", [sys.argv[1], "600"])
print("ready", flush=True)
time.sleep(600)
"""


def main_status(pod):
    """The status of the container ``main``, if it has one yet."""
    found = pod.status.container_statuses or []
    return next((one for one in found if one.name == "main"), None)


def waits_for(reason):
    """Whether a pod's container waits for that reason, as a predicate."""

    def holds(pod):
        status = main_status(pod)
        waiting = status.state.waiting if status else None
        return waiting is not None and waiting.reason == reason

    return holds


def conditions(pod):
    return {one.type: one for one in pod.status.conditions or []}


def ends(namespace):
    """Reasons, exit codes and phases of containers that ended. In a command ``$$`` is a ``$``."""
    commands = {
        "completed": ["true"],
        "error": ["sh", "-c", "echo why > /dev/termination-log; exit 3"],
        "hungry": ["tail", "/dev/zero"],
        "killed": ["sh", "-c", "kill -9 $$$$"],
        "absent": ["/no/such/program"],
    }
    limits = {"resources": {"limits": {"memory": "48Mi"}}}
    for name, command in commands.items():
        make_pod(namespace, name, *command, **limits)
    told = {}
    for name in commands:
        pod = until_ended(namespace, name)
        ended = main_status(pod).state.terminated
        told[name] = [pod.status.phase, ended.reason, ended.exit_code]
        if name == "error":
            told["message"] = ended.message
        if name == "absent":
            told["names it"] = "/no/such/program" in ended.message
            told[name][2] = ended.exit_code in (126, 127, 128)
    return told


def waits(namespace):
    """Reasons for which containers wait; one starts once what it waits for is there."""
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"k": "1"}})
    reference = {"configMapKeyRef": {"name": "c", "key": "late"}}
    env = [{"name": "V", "valueFrom": reference}]
    make_pod(namespace, "config", "sh", "-c", "echo $V", env=env)
    make_pod(namespace, "image", "true", image="registry.example/no/such:1")
    make_pod(namespace, "word", "true", image="not a name")
    told = {}
    for name, reason in (
        ("config", "CreateContainerConfigError"),
        ("image", "ImagePullBackOff"),
        ("word", "InvalidImageName"),
    ):
        pod = until_pod(namespace, name, waits_for(reason))
        told[name] = [pod.status.phase, main_status(pod).state.waiting.message]
    core.patch_namespaced_config_map("c", namespace, {"data": {"late": "now here"}})
    until_ended(namespace, "config")
    told["then"] = core.read_namespaced_pod_log("config", namespace)
    told["events"] = until_event(namespace, "image", "BackOff")
    return told


def restart_policies(namespace):
    """What each policy does with an end, good or bad."""
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = [{"name": "v", "mountPath": "/v"}]

    def make(name, policy, script):
        spec = {"restartPolicy": policy, "volumes": volumes}
        make_pod(namespace, name, "sh", "-c", script, spec=spec, volumeMounts=mounts)

    once = "[ -e /v/tried ] && exit 0; touch /v/tried; exit 5"
    make("always", "Always", "exit 0")
    make("crashes", "Always", "exit 7")
    make("retried", "OnFailure", once)
    make("good", "OnFailure", "exit 0")
    make("never", "Never", once)
    told = {}
    for name in ("retried", "good", "never"):
        pod = until_ended(namespace, name)
        told[name] = [pod.status.phase, main_status(pod).restart_count]
    for name in ("always", "crashes"):
        pod = until_pod(namespace, name, waits_for("CrashLoopBackOff"))
        status = main_status(pod)
        last = status.last_state.terminated
        told[name] = [pod.status.phase, status.restart_count >= 1, last.reason, last.exit_code]
        told["back-off"] = status.state.waiting.message.partition(" pod=")[0]
        told["Ready"] = conditions(pod)["Ready"].reason
    told["event"] = until_event(namespace, "crashes", "BackOff")[0]
    return told


def termination(namespace, mark):
    """SIGTERM first; what ignores it is killed with all its children after the grace."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    core.create_namespaced_persistent_volume_claim(
        namespace, {"metadata": {"name": "data"}, "spec": claim}
    )
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    polite = "trap 'echo bye > /v/file; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    spec = {"terminationGracePeriodSeconds": 60, "volumes": volumes}
    make_pod(namespace, "polite", "sh", "-c", polite, spec=spec, volumeMounts=mounts)
    stubborn = ["python3", "-c", STUBBORN, mark]
    make_pod(namespace, "stubborn", *stubborn, image="python:3.11")
    for name in ("polite", "stubborn"):
        until_pod(namespace, name, lambda pod: pod.status.phase == "Running")
        first_lines(namespace, name, 1)  # it is ready
        core.delete_namespaced_pod(name, namespace)
    until_gone(core.list_namespaced_pod, namespace)
    make_pod(namespace, "reads", "cat", "/v/file", spec={"volumes": volumes}, volumeMounts=mounts)
    until_ended(namespace, "reads")
    return {
        "said": core.read_namespaced_pod_log("reads", namespace),
        "events": bool(until_event(namespace, "stubborn", "Killing")),
    }


def probes(namespace):
    """Each kind of probe by each way to ask; each decides what upstream has it decide."""
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    server = ["python3", "-c", SERVER]
    always = {"restartPolicy": "Always"}

    def serve(name, **parts):
        ports = [{"name": "web", "containerPort": 8080}]
        make_pod(
            namespace, name, *server, image="python:3.11", env=[address], ports=ports,
            spec=always, **parts,
        )  # fmt: skip

    good = {"httpGet": {"port": "web", "path": "/"}, **FAST}
    bad = {"httpGet": {"port": 8080, "path": "/bad"}, **FAST}
    serve("http", startupProbe={**good, "failureThreshold": 60}, readinessProbe=good)
    serve("tcp", readinessProbe={"tcpSocket": {"port": "web"}, **FAST})
    serve("unready", readinessProbe={**bad, "failureThreshold": 1})
    serve(
        "unhealthy",
        startupProbe={**good, "failureThreshold": 60},
        livenessProbe={**bad, "failureThreshold": 1},
    )
    never = {"exec": {"command": ["false"]}, **FAST, "failureThreshold": 2}
    make_pod(namespace, "unstarted", *SLEEP, startupProbe=never, spec=always)

    def is_ready(pod):
        return "Ready" in conditions(pod) and conditions(pod)["Ready"].status == "True"

    def restarted(pod):
        status = main_status(pod)
        return status is not None and status.restart_count >= 1

    told = {}
    for name in ("http", "tcp"):
        pod = until_pod(namespace, name, is_ready)
        told[name] = [main_status(pod).started, main_status(pod).ready]
    told["unready"] = until_event(namespace, "unready", "Unhealthy", "HTTP")[0]
    pod = core.read_namespaced_pod("unready", namespace)
    told["condition"] = conditions(pod)["Ready"].message
    for name in ("unhealthy", "unstarted"):
        until_pod(namespace, name, restarted)
        told[name] = until_event(namespace, name, "Killing")[0]
    return told


def readiness_that_changes(namespace):
    """A running container that is not ready any more, then ready again, is not restarted."""
    body = {"metadata": {"name": "c"}, "data": {"ready": "yes"}}
    core.create_namespaced_config_map(namespace, body)
    probe = {"exec": {"command": ["grep", "yes", "/c/ready"]}, **FAST, "failureThreshold": 1}
    volumes = [{"name": "c", "configMap": {"name": "c"}}]
    make_pod(
        namespace, "x", *SLEEP, readinessProbe=probe, spec={"volumes": volumes},
        volumeMounts=[{"name": "c", "mountPath": "/c"}],
    )  # fmt: skip
    for word, wanted in (("yes", "True"), ("no", "False"), ("yes", "True")):
        core.patch_namespaced_config_map("c", namespace, {"data": {"ready": word}})

        def holds(pod, wanted=wanted):
            found = conditions(pod)
            return pod.status.phase == "Running" and found["Ready"].status == wanted

        pod = until_pod(namespace, "x", holds)
    return {"restarts": main_status(pod).restart_count, "ready": main_status(pod).ready}


def limits(namespace):
    """A limit that this machine can't hold is told by a condition; memory always holds."""
    held = {"resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}
    make_pod(namespace, "x", *SLEEP, **held)
    pod = until_pod(namespace, "x", lambda pod: pod.status.phase == "Running")
    unheld = conditions(pod).get("bessemer.dev/LimitsHeld")
    return {
        "cpu": None if unheld is None else [unheld.status, unheld.reason, unheld.message],
        "qos": pod.status.qos_class,
    }


def room_for(namespace):
    """Thousandths of cores that nobody asked for yet."""
    (node,) = core.list_node().items
    cores = float(node.status.allocatable["cpu"])
    taken = 0.0
    for pod in core.list_pod_for_all_namespaces(field_selector="spec.nodeName!=").items:
        for one in pod.spec.containers if pod.status.phase not in ENDED else ():
            text = ((one.resources and one.resources.requests) or {}).get("cpu", "0")
            taken += float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    return int((cores - taken) * 1000)


def unschedulable(namespace):
    """A pod that does not fit waits and says what is short; it starts once room is made."""
    most = {"resources": {"requests": {"cpu": f"{room_for(namespace) * 3 // 4}m"}}}
    make_pod(namespace, "holds", *SLEEP, **most)
    until_pod(namespace, "holds", lambda pod: pod.status.phase == "Running")
    make_pod(namespace, "waits", *SLEEP, **most)
    greedy = {"cpu": "5000", "example.org/gpu": "1"}
    make_pod(namespace, "greedy", *SLEEP, resources={"requests": greedy, "limits": greedy})
    told = {}
    for name in ("waits", "greedy"):
        event = until_event(namespace, name, "FailedScheduling")[0]
        pod = core.read_namespaced_pod(name, namespace)
        condition = conditions(pod)["PodScheduled"]
        told[name] = {
            "phase": pod.status.phase,
            "condition": [condition.status, condition.reason],
            "message": condition.message,
            "same event": event == condition.message,
        }
    core.delete_namespaced_pod("holds", namespace)
    pod = until_pod(namespace, "waits", lambda pod: pod.status.phase == "Running")
    told["then"] = conditions(pod)["PodScheduled"].status
    return told


if __name__ == "__main__":
    play(
        {
            scenario.__name__: scenario
            for scenario in (
                ends, waits, restart_policies, termination, probes, readiness_that_changes,
                limits, unschedulable,
            )
        }
    )  # fmt: skip

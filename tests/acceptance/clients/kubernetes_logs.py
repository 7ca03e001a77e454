"""Scenarios of what a pod tells while it runs and afterwards: its logs, its events."""

from kubernetes import watch
from kubernetes_scenarios import (
    core,
    first_lines,
    make_pod,
    play,
    refused,
    run_pod,
    until_ended,
    until_event,
    until_pod,
)

VOLUMES = [{"name": "v", "emptyDir": {}}]
MOUNTS = [{"name": "v", "mountPath": "/v"}]


def read(namespace, name, **options):
    return core.read_namespaced_pod_log(name, namespace, **options)


def make_waiting_pod(namespace, before, after):
    """Pod ``x``, running; between the two commands it waits for ``let_go``."""
    body = {"metadata": {"name": "c"}, "data": {"go": "no"}}
    core.create_namespaced_config_map(namespace, body)
    volumes = {"volumes": [{"name": "c", "configMap": {"name": "c"}}]}
    script = f"{before}; until grep -q yes /c/go; do sleep 0.05; done; {after}"
    mounts = [{"name": "c", "mountPath": "/c"}]
    make_pod(namespace, "x", "sh", "-c", script, spec=volumes, volumeMounts=mounts)
    until_pod(namespace, "x", lambda pod: pod.status.phase == "Running")


def let_go(namespace):
    core.patch_namespaced_config_map("c", namespace, {"data": {"go": "yes"}})


def following(namespace):
    """Lines come while the pod runs; the second only after the first was read."""
    make_waiting_pod(namespace, "echo one", "echo two >&2; echo end")
    stream = read(namespace, "x", follow=True, _preload_content=False)
    told = {"first": stream.readline().decode()}
    told["meanwhile"] = core.read_namespaced_pod("x", namespace).status.phase
    let_go(namespace)
    told["rest"] = stream.read().decode()  # to the end: it comes with the container's
    told["after"] = until_ended(namespace, "x").status.phase
    told["kept"] = read(namespace, "x")
    lines = watch.Watch().stream(core.read_namespaced_pod_log, "x", namespace, follow=True)
    told["by watch"] = list(lines)
    return told


def silent(namespace):
    """A log without a line yet is answered at once, and then followed."""
    make_waiting_pod(namespace, "true", "echo late")
    stream = read(namespace, "x", follow=True, _preload_content=False, _request_timeout=20)
    told = {"status": stream.status}
    let_go(namespace)
    told["rest"] = stream.read().decode()
    return told


def parts(namespace):
    """Which part of a log is asked for."""
    script = "for n in 1 2 3 4 5; do echo line $n; done"
    make_pod(namespace, "x", "sh", "-c", f"{script}; sleep 600")
    until_pod(namespace, "x", lambda pod: pod.status.phase == "Running")
    first_lines(namespace, "x", 5)
    log = run_pod(namespace, "quiet", "sh", "-c", f"{script}; sleep 3")
    return {
        "all": log.count("line"),
        "tail": read(namespace, "x", tail_lines=2),
        "tail of nothing": read(namespace, "x", tail_lines=0),
        "tail of more": read(namespace, "x", tail_lines=100).count("line"),
        "bytes": read(namespace, "x", limit_bytes=10),
        "both": read(namespace, "x", tail_lines=2, limit_bytes=8),
        "this hour": read(namespace, "quiet", since_seconds=3600).count("line"),
        "this second": read(namespace, "quiet", since_seconds=1),
        "no number": refused(read, namespace, "x", tail_lines="many")["code"],
        "too little": [
            refusal["message"]
            for name, value in (("tail_lines", -1), ("limit_bytes", 0), ("since_seconds", 0))
            if (refusal := refused(read, namespace, "x", **{name: value}))["code"] == 422
        ],
    }


def containers(namespace):
    """Each container has a log of its own; which one is meant must be said."""

    def container(name):
        return {"name": name, "image": "busybox", "command": ["echo", f"I am {name}"]}

    spec = {"containers": [container("a"), container("b")], "initContainers": [container("i")]}
    make_pod(namespace, "x", spec=spec)
    until_ended(namespace, "x")
    return {
        "logs": [read(namespace, "x", container=name) for name in ("i", "a", "b")],
        "none": refused(read, namespace, "x"),
        "unknown": refused(read, namespace, "x", container="z"),
        "absent": refused(read, namespace, "y"),
    }


def previous(namespace):
    """The log of a container's last end, while the next attempt runs and while it waits."""
    mounted = {"volumeMounts": MOUNTS}
    count = "n=$(cat /v/n 2>/dev/null || echo 0); echo $((n + 1)) > /v/n; echo run $n; "
    spec = {"restartPolicy": "OnFailure", "volumes": VOLUMES}
    once = count + "[ $n = 1 ] && sleep 600; exit 1"
    make_pod(namespace, "x", "sh", "-c", once, spec=spec, **mounted)

    def runs_again(pod):
        statuses = pod.status.container_statuses or []
        return any(one.restart_count == 1 and one.state.running for one in statuses)

    until_pod(namespace, "x", runs_again)
    told = {"now": first_lines(namespace, "x", 1)}
    told["before"] = read(namespace, "x", previous=True)
    make_pod(namespace, "crashes", "sh", "-c", count + "exit 1", spec=spec, **mounted)

    def waits(pod):
        statuses = pod.status.container_statuses or []
        return any(one.restart_count == 1 and one.state.waiting for one in statuses)

    until_pod(namespace, "crashes", waits)
    told["waiting"] = [read(namespace, "crashes"), read(namespace, "crashes", previous=True)]
    run_pod(namespace, "once", "echo", "first")
    told["none"] = refused(read, namespace, "once", previous=True)
    return told


def not_started(namespace):
    """A container that has not started has no log, and the answer says why it waits."""
    make_pod(namespace, "x", "true", image="registry.example/no/such:1")

    def waits(pod):
        statuses = pod.status.container_statuses or []
        return any(one.state.waiting.reason == "ImagePullBackOff" for one in statuses)

    until_pod(namespace, "x", waits)
    return refused(read, namespace, "x")


def building(namespace):
    """An environment that is built first is told by events, and by the waiting container."""
    make_pod(namespace, "x", "python3", "-c", "print('built')", image="python:3")
    until_ended(namespace, "x")
    return {
        "log": core.read_namespaced_pod_log("x", namespace),
        "pulling": until_event(namespace, "x", "Pulling"),
        "pulled": until_event(namespace, "x", "Pulled"),
    }


if __name__ == "__main__":
    play(
        {
            scenario.__name__: scenario
            for scenario in (
                following,
                silent,
                parts,
                containers,
                previous,
                not_started,
                building,
            )
        }
    )

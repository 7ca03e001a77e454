"""What the scenarios of the official ``kubernetes`` client share, and the loop that plays them.

Each line of standard input names one: {"scenario", "arguments"}; each line of standard output is
{"told"} or {"error"}. A scenario's first argument is the name of a new namespace.
"""

import itertools
import json
import sys
import traceback
import warnings

warnings.simplefilter("ignore")

from kubernetes import client, config, watch

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
rbac, custom = client.RbacAuthorizationV1Api(), client.CustomObjectsApi()
ENDED = ("Succeeded", "Failed")
WAIT_SECONDS = 60
_counter = itertools.count(1)


def until(list_, holds, *arguments, **options):
    """Watch a list until that holds of its objects; gives them."""
    found = list_(*arguments, **options)
    known = {one.metadata.uid: one for one in found.items}
    stream = watch.Watch()
    while not holds(list(known.values())):
        version = found.metadata.resource_version
        for event in stream.stream(
            list_, *arguments, resource_version=version, timeout_seconds=WAIT_SECONDS, **options
        ):
            one = event["object"]
            known[one.metadata.uid] = one
            if event["type"] == "DELETED":
                del known[one.metadata.uid]
            if holds(list(known.values())):
                stream.stop()
                return list(known.values())
        raise TimeoutError(f"it never held: {[one.to_str()[-2000:] for one in known.values()]}")
    return list(known.values())


def until_pod(namespace, name, holds):
    """The pod, once that holds of it."""
    (pod,) = until(
        core.list_namespaced_pod,
        lambda pods: bool(pods) and holds(pods[0]),
        namespace,
        field_selector=f"metadata.name={name}",
    )
    return pod


def until_ended(namespace, name):
    """The pod, once it is over."""
    return until_pod(namespace, name, lambda pod: pod.status.phase in ENDED)


def until_gone(list_, *arguments, **options):
    """Wait until such a list is empty."""
    until(list_, lambda found: not found, *arguments, **options)


def until_event(namespace, name, reason, word=""):
    """The messages of a pod's events of that reason, once there is one with the word."""
    selector = f"involvedObject.name={name},reason={reason}"

    def holds(events):
        return any(word in event.message for event in events)

    found = until(core.list_namespaced_event, holds, namespace, field_selector=selector)
    return [event.message for event in found if word in event.message]


def make_pod(namespace, name, *command, spec=None, labels=None, **container):
    """Create a pod of one container ``main``, by default of the machine's shell."""
    main = {"name": "main", "image": "busybox", "command": list(command), **container}
    body = {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [main],
            **(spec or {}),
        },
    }
    return core.create_namespaced_pod(namespace, body)


def run_pod(namespace, name, *command, **parts):
    """Make such a pod, wait for its end, and give its log."""
    make_pod(namespace, name, *command, **parts)
    pod = until_ended(namespace, name)
    container = pod.spec.containers[-1].name
    return core.read_namespaced_pod_log(name, namespace, container=container)


def first_lines(namespace, name, count):
    """The first lines of a running pod's log, waited for."""
    log = core.read_namespaced_pod_log(name, namespace, follow=True, _preload_content=False)
    lines = [log.readline().decode() for _ in range(count)]
    log.close()  # or the client's pool would send the next request into the open answer
    return lines


def refused(call, *arguments, **named):
    """How the server refuses: its status, reason and message; None if it does not."""
    try:
        call(*arguments, **named)
    except client.ApiException as error:
        body = json.loads(error.body)
        return {"code": error.status, "reason": body["reason"], "message": body["message"]}
    return None


def play(scenarios):
    """Play what standard input asks for, until it ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        name = asked["scenario"].replace("_", "-") + f"-{next(_counter)}"
        try:
            core.create_namespace({"metadata": {"name": name}})
            answer = {"told": scenarios[asked["scenario"]](name, **asked["arguments"])}
            core.delete_namespace(name)
        except Exception:  # noqa: BLE001 - whatever it is, the test says it
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)

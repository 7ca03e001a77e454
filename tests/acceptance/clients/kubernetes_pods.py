"""Scenarios of what a pod's containers get: variables, commands, volumes, order of starting."""

import base64
import json

from kubernetes_scenarios import (
    core,
    make_pod,
    play,
    refused,
    run_pod,
    until,
    until_ended,
    until_pod,
)

# Waits inside the pod until the file given as the first argument is there.
AWAIT = 'until [ -e "$1" ]; do sleep 0.05; done; '


def shell(script, *arguments):
    """A command of the machine's shell."""
    return ["sh", "-ec", script, "sh", *arguments]


def container(name, *command, **parts):
    return {"name": name, "image": "busybox", "command": list(command), **parts}


def mount(name, path, **parts):
    return {"name": name, "mountPath": path, **parts}


def config_map(namespace, name, **data):
    return core.create_namespaced_config_map(namespace, {"metadata": {"name": name}, "data": data})


def secret(namespace, name, **data):
    body = {"metadata": {"name": name}, "stringData": data}
    return core.create_namespaced_secret(namespace, body)


def field(path):
    return {"fieldRef": {"fieldPath": path}}


def variables(namespace):
    """Every way to set a variable, and what the container has of it."""
    config_map(namespace, "plain", A="from the map", B="also")
    secret(namespace, "hidden", S="from the secret", A="the secret's A")

    def resource(name, divisor="0"):
        reference = {"containerName": "main", "resource": name, "divisor": divisor}
        return {"resourceFieldRef": reference}

    sources = {
        "KEY": {"configMapKeyRef": {"name": "plain", "key": "A"}},
        "PASSWORD": {"secretKeyRef": {"name": "hidden", "key": "S"}},
        "OPTIONAL": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}},
        "POD": field("metadata.name"),
        "NAMESPACE": field("metadata.namespace"),
        "UID_OF_POD": field("metadata.uid"),
        "LABEL": field("metadata.labels['tier']"),
        "NODE": field("spec.nodeName"),
        "ACCOUNT": field("spec.serviceAccountName"),
        "IP": field("status.podIP"),
        "CPU": resource("limits.cpu"),
        "MILLICPU": resource("requests.cpu", "1m"),
        "MEMORY": resource("limits.memory", "1Mi"),
    }
    env = [{"name": name, "valueFrom": source} for name, source in sources.items()]
    env += [
        {"name": "B", "value": "own"},
        {"name": "JOINED", "value": "$(B)/$(PASSWORD)/$$(B)/$(NOWHERE)/$(LATER)"},
        {"name": "LATER", "value": "later"},
        {"name": "EMPTY"},
    ]
    log = run_pod(
        namespace, "x", "env", env=env, labels={"tier": "web"},
        envFrom=[
            {"configMapRef": {"name": "plain"}},
            {"secretRef": {"name": "hidden"}},
            {"configMapRef": {"name": "plain"}, "prefix": "PRE_"},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
        resources={"requests": {"cpu": "250m"}, "limits": {"cpu": "1500m", "memory": "64Mi"}},
    )  # fmt: skip
    found = dict(line.partition("=")[::2] for line in log.splitlines())
    pod = core.read_namespaced_pod("x", namespace)
    asked = {*sources, "A", "B", "S", "PRE_A", "PRE_B", "JOINED", "LATER", "EMPTY"}
    told = {name: found.get(name) for name in sorted(asked)}
    right = {"IP": pod.status.pod_ip, "UID_OF_POD": pod.metadata.uid, "NODE": pod.spec.node_name,
             "NAMESPACE": namespace}  # fmt: skip
    told["as the object says"] = all(told.pop(name) == value for name, value in right.items())
    return told


def commands(namespace):
    """What becomes of references in a command and its arguments, and where it starts."""
    print_all = 'for word; do printf "[%s]" "$word"; done'
    env = [{"name": "A", "value": "one two"}]
    args = ["$(A)", "$$(A)", "$(NOWHERE)", "x$(A)x", "$A", "$$", "$(A"]
    told = {
        "args": run_pod(namespace, "args", *shell(print_all), args=args, env=env),
        "command": run_pod(namespace, "command", "printf", "[%s]", "$(A)", env=env),
        "there": run_pod(namespace, "there", "pwd", workingDir="/tmp"),
    }
    folder = {"workingDir": "/work", "volumeMounts": [mount("v", "/work")]}
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}]}
    script = shell("echo hello > file; ls /work")
    told["mounted"] = run_pod(namespace, "mounted", *script, spec=volumes, **folder)
    return told


def init_containers(namespace):
    """They run one after the other, before the others; one that fails is tried again."""
    volumes = [{"name": "v", "emptyDir": {}}]
    inits = []
    for name in ("first", "second", "third"):
        # It would be seen if another was there at the same time.
        script = f"mkdir /v/turn; echo {name} >> /v/log; rmdir /v/turn"
        inits.append(container(name, *shell(script), volumeMounts=[mount("v", "/v")]))
    again = shell("echo retried >> /v/log; [ $(grep -c retried /v/log) = 2 ]")
    inits.append(container("retried", *again, volumeMounts=[mount("v", "/v")]))
    spec = {"initContainers": inits, "volumes": volumes, "restartPolicy": "OnFailure"}
    mounts = {"volumeMounts": [mount("v", "/v", readOnly=True)]}
    log = run_pod(namespace, "good", "cat", "/v/log", spec=spec, **mounts)
    statuses = core.read_namespaced_pod("good", namespace).status.init_container_statuses
    told = {
        "log": log.split(),
        "reasons": [one.state.terminated.reason for one in statuses],
        "restarts": [one.restart_count for one in statuses],
    }
    failing = {"initContainers": [container("fails", *shell("echo no; exit 4"))]}
    make_pod(namespace, "bad", "echo", "never", spec=failing)
    pod = until_ended(namespace, "bad")
    (init,), (main,) = pod.status.init_container_statuses, pod.status.container_statuses
    told["bad"] = {
        "phase": pod.status.phase,
        "exit": init.state.terminated.exit_code,
        "log": core.read_namespaced_pod_log("bad", namespace, container="fails"),
        "main": main.state.waiting.reason,
        "condition": conditions(pod)["Initialized"],
    }
    return told


def conditions(pod):
    return {one.type: one.status for one in pod.status.conditions or []}


def shared_empty_dir(namespace):
    """Two containers of one pod talk by a volume; a pod after it starts with an empty one."""
    volumes = {
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]
    }
    mounts = [mount("v", "/v"), mount("m", "/m")]
    asks = container(
        "asks", *shell(f"echo question > /v/asked; {AWAIT} cat /v/answer", "/v/answer"),
        volumeMounts=[mount("v", "/v")],
    )  # fmt: skip
    answers = container(
        "answers",
        *shell(f"{AWAIT} echo to $(cat /v/asked) > /m/draft; mv /m/draft /v/answer", "/v/asked"),
        volumeMounts=mounts,
    )
    make_pod(namespace, "talk", spec={**volumes, "containers": [asks, answers]})
    until_ended(namespace, "talk")
    listed = run_pod(namespace, "later", "ls", "/v", spec=volumes, volumeMounts=mounts)
    return {
        "said": core.read_namespaced_pod_log("talk", namespace, container="asks"),
        "later": listed,
    }


def changing_config_map(namespace):
    """A running pod sees the map's new content, and the key that went; not by a subPath."""
    config_map(namespace, "c", k="old", gone="x")
    volumes = {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 0o440}}]}
    mounts = [mount("v", "/v"), mount("v", "/fixed", subPath="k")]
    script = (
        "stat -Lc %a /v/k; until grep -q new /v/k && ! [ -e /v/gone ]; do sleep 0.05; done;"
        "cat /v/k /fixed"
    )
    make_pod(namespace, "x", *shell(script), spec=volumes, volumeMounts=mounts)
    until_pod(namespace, "x", lambda pod: pod.status.phase == "Running")
    core.patch_namespaced_config_map("c", namespace, {"data": {"k": "new\n", "gone": None}})
    until_ended(namespace, "x")
    return core.read_namespaced_pod_log("x", namespace)


def secret_volume(namespace):
    """A secret's keys are files, read-only, with the modes that were asked."""
    secret(namespace, "s", user="me", password="secret words")
    items = [{"key": "password", "path": "deep/word", "mode": 0o400}]
    volumes = [
        {"name": "all", "secret": {"secretName": "s"}},
        {"name": "one", "secret": {"secretName": "s", "items": items}},
    ]
    script = (
        "ls /all; cat /all/password; echo; find -L /one -type f -not -path '*/..*'; "
        "stat -Lc %a /one/deep/word; echo x 2>/dev/null > /all/new || echo read-only"
    )
    mounts = [mount("all", "/all", readOnly=True), mount("one", "/one")]
    log = run_pod(namespace, "x", *shell(script), spec={"volumes": volumes}, volumeMounts=mounts)
    return log.splitlines()


def claims(namespace):
    """What one pod writes into a claim, the next one reads; a folder of it can be chosen."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    body = {"metadata": {"name": "data"}, "spec": spec}
    core.create_namespaced_persistent_volume_claim(namespace, body)
    volumes = {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    mounts = [mount("v", "/data"), mount("v", "/part", subPath="part")]
    write = shell("echo kept > /data/file; echo inner > /part/file")
    run_pod(namespace, "writes", *write, spec=volumes, volumeMounts=mounts)
    core.delete_namespaced_pod("writes", namespace)
    read = shell("cat /data/file /data/part/file; echo x 2>/dev/null > /data/no || echo read-only")
    mounts = [mount("v", "/data", readOnly=True)]
    log = run_pod(namespace, "reads", *read, spec=volumes, volumeMounts=mounts)
    claim = core.read_namespaced_persistent_volume_claim("data", namespace)
    make_pod(
        namespace, "lost", "true", volumeMounts=[mount("v", "/data")],
        spec={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "none"}}]},
    )  # fmt: skip
    warnings = "involvedObject.name=lost,type=Warning"
    lost = until(core.list_namespaced_event, bool, namespace, field_selector=warnings)
    return {"log": log.splitlines(), "phase": claim.status.phase, "lost": lost[0].message}


def projected(namespace):
    """One volume of a token, keys of a map and a secret, and the pod's own fields."""
    config_map(namespace, "c", k="from the map")
    secret(namespace, "s", k="from the secret")
    token = {"path": "token", "expirationSeconds": 1200}
    sources = [
        {"serviceAccountToken": token},
        {"configMap": {"name": "c", "items": [{"key": "k", "path": "map"}]}},
        {"secret": {"name": "s", "items": [{"key": "k", "path": "deep/secret"}]}},
        {"downwardAPI": {"items": [{"path": "labels", **field("metadata.labels")}]}},
    ]
    volumes = {"volumes": [{"name": "v", "projected": {"sources": sources}}]}
    script = "cat /v/map; echo; cat /v/deep/secret; echo; cat /v/labels; echo; cat /v/token"
    log = run_pod(
        namespace, "x", *shell(script), spec=volumes, volumeMounts=[mount("v", "/v")],
        labels={"a": "1", "b": "two"},
    )  # fmt: skip
    *lines, jwt = log.splitlines()
    claims = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
    sources[0] = {"serviceAccountToken": {**token, "audience": "vault"}}
    return {
        "lines": lines,
        "for others": refused(make_pod, namespace, "y", "true", spec=volumes),
        "subject": claims["sub"] == f"system:serviceaccount:{namespace}:default",
        "seconds": claims["exp"] - claims["iat"],
        "pod": claims["kubernetes.io"]["pod"]["name"],
    }


def own_identity(namespace):
    """The official way in: address, CA, token and namespace are where clients look."""
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = (
        "import os, ssl, urllib.request, urllib.error\n"
        f"os.chdir({folder!r})\n"
        "print(open('namespace').read())\n"
        "host = os.environ['KUBERNETES_SERVICE_HOST']\n"
        "port = os.environ['KUBERNETES_SERVICE_PORT']\n"
        "trust = ssl.create_default_context(cafile='ca.crt')\n"
        "headers = {'Authorization': 'Bearer ' + open('token').read()}\n"
        "def ask(path):\n"
        "    request = urllib.request.Request(f'https://{host}:{port}{path}', headers=headers)\n"
        "    try:\n"
        "        return urllib.request.urlopen(request, context=trust).status\n"
        "    except urllib.error.HTTPError as error:\n"
        "        return error.code\n"
        "print(ask('/version'), ask('/api/v1/secrets'))\n"
    )
    log = run_pod(namespace, "x", "python3", "-c", script, image="python:3.11")
    off = {"automountServiceAccountToken": False}
    none = run_pod(namespace, "off", *shell(f"[ -e {folder} ] || echo nothing"), spec=off)
    return {"log": log.split(), "namespace": namespace, "off": none}


if __name__ == "__main__":
    play(
        {
            scenario.__name__: scenario
            for scenario in (
                variables, commands, init_containers, shared_empty_dir, changing_config_map,
                secret_volume, claims, projected, own_identity,
            )
        }
    )  # fmt: skip

"""Pods at admission: identity, refusals by name, what may not change."""

import pytest

PODS = "/api/v1/namespaces/default/pods"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def pod(name="a", container=None, **spec):
    containers = [{"name": "m", "image": "python:3.11", **(container or {})}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


async def test_a_pod_gets_its_account_s_token_ca_and_namespace(world):
    found = (await world.ask("POST", PODS, pod())).json

    volume = found["spec"]["volumes"][0]
    mount = found["spec"]["containers"][0]["volumeMounts"][0]
    token, ca, namespace = volume["projected"]["sources"]
    assert found["spec"]["serviceAccountName"] == "default"
    assert volume["name"].startswith("kube-api-access-")
    assert mount == {"name": volume["name"], "mountPath": MOUNT, "readOnly": True}
    assert token["serviceAccountToken"]["expirationSeconds"] == 3607
    assert ca["configMap"]["name"] == "kube-root-ca.crt"
    assert namespace["downwardAPI"]["items"][0]["path"] == "namespace"


async def test_no_token_where_the_account_or_the_pod_says_so(world):
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    quiet = {"metadata": {"name": "quiet"}, "automountServiceAccountToken": False}
    await world.ask("POST", accounts, quiet)

    by_account = await world.ask("POST", PODS, pod("a", serviceAccountName="quiet"))
    by_pod = await world.ask("POST", PODS, pod("b", automountServiceAccountToken=False))

    assert "volumes" not in by_account.json["spec"]
    assert "volumes" not in by_pod.json["spec"]


async def test_a_pod_without_its_account_is_forbidden_and_not_stored(world):
    reply = await world.ask("POST", PODS, pod(serviceAccountName="nobody"))

    assert reply.status == 403
    assert 'serviceaccount "nobody" not found' in reply.message
    assert (await world.ask("GET", f"{PODS}/a")).status == 404


REFUSED = [
    (pod(container={"image": ""}), "spec.containers[0].image: Required value"),
    (pod(container={"name": "A B"}), "spec.containers[0].name: Invalid value"),
    (
        pod(container={"volumeMounts": [{"name": "x", "mountPath": "/x"}]}),
        'spec.containers[0].volumeMounts[0].name: Not found: "x"',
    ),
    (
        pod(restartPolicy="Sometimes"),
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: '
        '"Always", "Never", "OnFailure"',
    ),
    (
        pod(container={"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal '
        "to cpu limit of 1",
    ),
    (
        pod(container={"ports": [{"containerPort": 70000}]}),
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and "
        "65535",
    ),
    (
        pod(container={"livenessProbe": {"periodSeconds": 1}}),
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
    ),
    (
        pod(container={"env": [{"name": "a=b", "value": "x"}]}),
        "spec.containers[0].env[0].name: Invalid value",
    ),
    (pod(hostPID=True), "spec.hostPID: Forbidden: not supported by this cluster"),
    (
        pod(container={"securityContext": {"privileged": True}}),
        "spec.containers[0].securityContext.privileged: Forbidden: not supported by this cluster",
    ),
    (
        pod(volumes=[{"name": "n", "nfs": {"server": "s", "path": "/"}}]),
        "spec.volumes[0].nfs: Forbidden: volumes of type nfs are not supported",
    ),
    (
        pod(volumes=[{"name": "n", "emptyDir": {}}, {"name": "n", "emptyDir": {}}]),
        'spec.volumes[1].name: Duplicate value: "n"',
    ),
    (
        pod(volumes=[{"name": "n", "emptyDir": {}, "secret": {"secretName": "s"}}]),
        "may not specify more than 1 volume type",
    ),
    (
        pod(
            container={"volumeMounts": [{"name": "n", "mountPath": "/x", "subPath": "../up"}]},
            volumes=[{"name": "n", "emptyDir": {}}],
        ),
        "must not contain '..'",
    ),
    ({"metadata": {"name": "a"}}, "spec.containers: Required value"),
    (
        {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "m", "image": "i"}] * 2}},
        'spec.containers[1].name: Duplicate value: "m"',
    ),
]


@pytest.mark.parametrize(("obj", "text"), REFUSED)
async def test_broken_rules_are_told_in_upstream_s_words(world, obj, text):
    reply = await world.ask("POST", PODS, obj)

    assert (reply.status, reply.json["reason"]) == (422, "Invalid")
    assert text in reply.message
    assert reply.json["details"]["causes"]


async def test_a_variable_may_be_named_by_any_printable_signs_but_one(world):
    env = [{"name": name, "value": "x"} for name in ("1a", "a b", "x/y:z")]

    reply = await world.ask("POST", PODS, pod(container={"env": env}))

    assert (reply.status, reply.json["spec"]["containers"][0]["env"]) == (201, env)


async def test_only_the_image_of_a_pod_may_change(world):
    await world.ask("POST", PODS, pod())
    merge = {"content-type": "application/strategic-merge-patch+json"}

    image = {"spec": {"containers": [{"name": "m", "image": "python:3.12"}]}}
    command = {"spec": {"containers": [{"name": "m", "command": ["x"]}]}}

    assert (await world.ask("PATCH", f"{PODS}/a", image, headers=merge)).status == 200
    reply = await world.ask("PATCH", f"{PODS}/a", command, headers=merge)
    assert reply.status == 422
    assert "pod updates may not change fields other than" in reply.message


async def test_a_pod_is_placed_once(world):
    await world.ask("POST", PODS, pod())
    binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}

    assert (await world.ask("POST", f"{PODS}/a/binding", binding)).status == 201
    assert (await world.ask("POST", f"{PODS}/a/binding", binding)).status == 409
    assert (await world.ask("GET", f"{PODS}/a")).json["spec"]["nodeName"] == "n1"


async def test_the_machine_s_folders_are_for_the_system_alone(world):
    host = {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}
    system = "/api/v1/namespaces/bessemer-system/pods"

    refused = await world.ask("POST", PODS, pod(**host))
    allowed = await world.ask("POST", system, pod(**host))

    assert (refused.status, allowed.status) == (403, 201)
    assert "hostPath" in refused.message

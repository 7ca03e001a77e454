"""Every kind at admission: names, namespaces, unknown fields, services, what never changes."""

import pytest

CORE = "/api/v1/namespaces/default"
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
MERGE = {"content-type": "application/merge-patch+json"}


async def test_unknown_fields_are_refused_warned_of_or_dropped(world):
    def named(name):
        return {"metadata": {"name": name}, "data": {"a": "1"}, "colour": "red"}

    strict = await world.ask("POST", f"{CORE}/configmaps?fieldValidation=Strict", named("a"))
    warned = await world.ask("POST", f"{CORE}/configmaps", named("b"))
    ignored = await world.ask("POST", f"{CORE}/configmaps?fieldValidation=Ignore", named("c"))

    assert strict.status == 400
    assert 'strict decoding error: unknown field "colour"' in strict.message
    assert warned.headers["warning"] == ['299 - "unknown field \\"colour\\""']
    assert "warning" not in ignored.headers
    assert "colour" not in warned.json
    assert "colour" not in ignored.json


@pytest.mark.parametrize(
    ("plural", "obj", "text"),
    [
        ("configmaps", {"metadata": {"name": "A"}}, "a lowercase RFC 1123 subdomain must"),
        ("configmaps", {"metadata": {"name": "a" * 254}}, "must be no more than 253 characters"),
        ("configmaps", {"metadata": {}}, "name or generateName is required"),
        ("configmaps", {"metadata": {"name": "a", "labels": {"x y": "1"}}}, "metadata.labels"),
        ("configmaps", {"metadata": {"name": "a"}, "data": {"a/b": "1"}}, "a valid config key"),
        (
            "configmaps",
            {"metadata": {"name": "a"}, "data": {"k": "x" * 2**20, "l": "x"}},
            "Too long",
        ),
        (
            "secrets",
            {"metadata": {"name": "a"}, "type": "kubernetes.io/tls"},
            "data[tls.crt]: Required",
        ),
        ("services", {"metadata": {"name": "a"}}, "spec.ports: Required value"),
        (
            "services",
            {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 1}]}},
            "DNS-1035 label",
        ),
        (
            "services",
            {"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 1}]}},
            'spec.type: Unsupported value: "NodePort"',
        ),
        (
            "persistentvolumeclaims",
            {"metadata": {"name": "a"}},
            "at least 1 access mode is required",
        ),
    ],
)
async def test_broken_objects_are_invalid_and_not_stored(world, plural, obj, text):
    reply = await world.ask("POST", f"{CORE}/{plural}", obj)

    assert reply.status == 422
    assert text in reply.message
    assert (await world.ask("GET", f"{CORE}/{plural}")).json["items"] == []


async def test_a_namespace_must_exist_and_live(world):
    obj = {"metadata": {"name": "a"}}
    await world.ask("DELETE", "/api/v1/namespaces/other")

    missing = await world.ask("POST", "/api/v1/namespaces/nowhere/configmaps", obj)
    ending = await world.ask("POST", "/api/v1/namespaces/other/configmaps", obj)

    assert (missing.status, missing.message) == (404, 'namespaces "nowhere" not found')
    assert ending.status == 403
    assert "because it is being terminated" in ending.message


async def test_what_everything_leans_on_is_not_deleted(world):
    reply = await world.ask("DELETE", "/api/v1/namespaces/default")

    assert reply.status == 403
    assert (await world.ask("GET", "/api/v1/namespaces/default")).json["status"][
        "phase"
    ] == "Active"


async def test_services_get_addresses_of_their_own(world):
    def service(name, **spec):
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first = (await world.ask("POST", f"{CORE}/services", service("a"))).json["spec"]
    second = (await world.ask("POST", f"{CORE}/services", service("b"))).json["spec"]
    taken = await world.ask("POST", f"{CORE}/services", service("c", clusterIP=first["clusterIP"]))
    outside = await world.ask("POST", f"{CORE}/services", service("d", clusterIP="10.0.0.1"))
    headless = (await world.ask("POST", f"{CORE}/services", service("e", clusterIP="None"))).json
    moved = await world.ask(
        "PATCH", f"{CORE}/services/a", {"spec": {"clusterIP": "127.7.0.99"}}, headers=MERGE
    )

    assert first["clusterIP"].startswith("127.7.")
    assert first["clusterIP"] != second["clusterIP"]
    assert "provided IP is already allocated" in taken.message
    assert "not in the valid range" in outside.message
    assert headless["spec"]["clusterIPs"] == ["None"]
    assert "may not change once set" in moved.message


def deployment(labels=None, **spec):
    template = {
        "metadata": {"labels": labels or {"a": "b"}},
        "spec": {"containers": [{"name": "m", "image": "i"}]},
    }
    selector = {"matchLabels": {"a": "b"}}
    return {
        "metadata": {"name": "d"},
        "spec": {"selector": selector, "template": template, **spec},
    }


DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (deployment({"x": "y"}), "`selector` does not match template `labels`"),
        (
            deployment(replicas=-1),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden",
        ),
        (
            deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            "may not be 0 when `maxSurge` is 0",
        ),
        ({"metadata": {"name": "d"}, "spec": {}}, "spec.selector: Required value"),
    ],
)
async def test_deployments_are_checked(world, obj, text):
    reply = await world.ask("POST", DEPLOYMENTS, obj)

    assert reply.status == 422
    assert text in reply.message


async def test_a_deployment_s_selector_stays_and_scale_is_checked(world):
    await world.ask("POST", DEPLOYMENTS, deployment())
    selector = {
        "spec": {
            "selector": {"matchLabels": {"a": "c"}},
            "template": {"metadata": {"labels": {"a": "c"}}},
        }
    }

    moved = await world.ask("PATCH", f"{DEPLOYMENTS}/d", selector, headers=MERGE)
    scaled = await world.ask(
        "PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 4}}, headers=MERGE
    )
    refused = await world.ask(
        "PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -4}}, headers=MERGE
    )

    assert "field is immutable" in moved.message
    assert scaled.json["spec"]["replicas"] == 4
    assert refused.status == 422
    assert (await world.ask("GET", f"{DEPLOYMENTS}/d")).json["spec"]["replicas"] == 4


async def test_an_immutable_configmap_stays(world):
    obj = {"metadata": {"name": "a"}, "data": {"k": "1"}, "immutable": True}
    await world.ask("POST", f"{CORE}/configmaps", obj)

    reply = await world.ask("PATCH", f"{CORE}/configmaps/a", {"data": {"k": "2"}}, headers=MERGE)

    assert reply.status == 422
    assert "field is immutable when `immutable` is set" in reply.message


async def test_only_a_job_that_is_held_may_be_placed_and_sized_anew(world):
    jobs = DEPLOYMENTS.replace("apps", "batch").replace("deployments", "jobs")
    container = {"name": "c", "image": "busybox"}
    for name, suspend in (("held", True), ("free", False)):
        spec = {"restartPolicy": "Never", "containers": [container]}
        job = {
            "metadata": {"name": name},
            "spec": {"suspend": suspend, "template": {"spec": spec}},
        }
        assert (await world.ask("POST", jobs, job)).status == 201
    placed = {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "containers": [{**container, "resources": {"requests": {"cpu": "1"}}}],
    }
    change = {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}, "spec": placed}}}
    other = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "debian"}]}}}}

    async def patch(name, change):
        return await world.ask("PATCH", f"{jobs}/{name}", change, headers=STRATEGIC)

    assert (await patch("held", change)).json["spec"]["template"]["spec"]["nodeSelector"] == {
        "disk": "fast"
    }
    for name, refused in (("free", change), ("held", other)):
        reply = await patch(name, refused)
        assert reply.status == 422
        assert "spec.template: Invalid value" in reply.message
        assert "field is immutable" in reply.message


async def test_a_claim_is_bound_to_one_volume_once(world):
    claims = f"{CORE}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    assert (
        await world.ask("POST", claims, {"metadata": {"name": "c"}, "spec": spec})
    ).status == 201

    async def bind(volume):
        change = {"spec": {"volumeName": volume}}
        return (await world.ask("PATCH", f"{claims}/c", change, headers=MERGE)).status

    assert [await bind("one"), await bind("two"), await bind(None)] == [200, 422, 422]

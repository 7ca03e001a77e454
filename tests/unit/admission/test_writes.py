"""Every kind at admission: names, namespaces, unknown fields, services, what never changes."""

import asyncio
import base64

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
            "configmaps",
            {"metadata": {"name": "a"}, "data": {"k": "\u20ac" * (2**20 // 3 + 1)}},
            "Too long",  # upstream counts bytes
        ),
        (
            "secrets",
            {"metadata": {"name": "a"}, "type": "kubernetes.io/tls"},
            "data[tls.crt]: Required",
        ),
        (
            "secrets",
            {"metadata": {"name": "a"}, "type": "kubernetes.io/service-account-token"},
            "type: Forbidden: not supported by this cluster",
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


async def test_the_address_of_a_service_that_is_gone_is_free_at_once(world):
    path = f"{CORE}/services"
    spec = {"ports": [{"port": 80}]}
    made = (await world.ask("POST", path, {"metadata": {"name": "a"}, "spec": spec})).json
    wanted = {"metadata": {"name": "b"}, "spec": {**spec, "clusterIP": made["spec"]["clusterIP"]}}

    tried = await world.ask("POST", f"{path}?dryRun=All", wanted)
    await world.ask("DELETE", f"{path}/a")
    dry = await world.ask("POST", f"{path}?dryRun=All", {**wanted, "metadata": {"name": "c"}})
    taken = await world.ask("POST", path, wanted)

    assert "provided IP is already allocated" in tried.message
    assert (dry.status, taken.status) == (201, 201)


async def test_services_made_at_one_moment_have_different_addresses(world):
    def service(name):
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}

    made = await asyncio.gather(
        *(world.ask("POST", f"{CORE}/services", service(f"s{number}")) for number in range(20))
    )

    assert len({reply.json["spec"]["clusterIP"] for reply in made}) == 20


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


async def test_binary_data_counts_as_the_bytes_that_it_is(world):
    megabyte = base64.b64encode(bytes(2**20)).decode()
    obj = {"metadata": {"name": "a"}, "binaryData": {"k": megabyte}}

    fits = await world.ask("POST", f"{CORE}/configmaps", obj)
    more = {"metadata": {"name": "b"}, "binaryData": {"k": megabyte, "l": "AA=="}}
    too_long = await world.ask("POST", f"{CORE}/configmaps", more)

    assert (fits.status, too_long.status) == (201, 422)


async def test_no_patch_makes_an_object_longer_than_a_body_may_be(world):
    await world.ask("POST", DEPLOYMENTS, deployment())
    env = [{"name": f"A{number}", "value": "x" * 1000} for number in range(1700)]
    first = {"spec": {"template": {"spec": {"containers": [{"name": "m", "env": env}]}}}}
    more = [{"name": f"B{number}", "value": "x" * 1000} for number in range(1700)]
    second = {"spec": {"template": {"spec": {"containers": [{"name": "m", "env": more}]}}}}

    fits = await world.ask("PATCH", f"{DEPLOYMENTS}/d", first, headers=STRATEGIC)
    reply = await world.ask("PATCH", f"{DEPLOYMENTS}/d", second, headers=STRATEGIC)

    assert fits.status == 200
    assert (reply.status, reply.json["reason"]) == (413, "RequestEntityTooLarge")
    assert (await world.ask("GET", f"{DEPLOYMENTS}/d")).json == fits.json


async def test_who_leads_is_not_overwritten_unseen(world):
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "a"}, "spec": {"holderIdentity": "x"}}
    made = (await world.ask("POST", leases, lease)).json
    other = {"metadata": {"name": "a"}, "spec": {"holderIdentity": "y"}}

    blind = await world.ask("PUT", f"{leases}/a", other)
    patched = await world.ask("PATCH", f"{leases}/a", other, headers=MERGE)
    stale = await world.ask("PUT", f"{leases}/a", made)

    assert blind.status == 422
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified" in blind.message
    assert (patched.status, stale.status) == (200, 409)


async def test_times_are_stored_as_clients_read_them(world):
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"

    def lease(name, moment):
        return {"metadata": {"name": name}, "spec": {"renewTime": moment}}

    whole = await world.ask("POST", leases, lease("a", "2026-01-01T02:00:00+02:00"))
    odd = [
        await world.ask("POST", leases, lease("b", moment))
        for moment in (
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "20260101T000000Z",
            "2026-W01-1T00Z",
            "0001-01-01T00:00:00+14:00",
        )
    ]

    assert whole.json["spec"]["renewTime"] == "2026-01-01T00:00:00.000000Z"
    assert {reply.status for reply in odd} == {400}


@pytest.mark.parametrize(
    ("role", "text"),
    [
        (
            {"rules": [{"verbs": ["get"], "resources": ["pods"], "apiGroups": [""],
                        "nonResourceURLs": ["/x"]}]},
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
        (
            {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}},
            "aggregationRule: Forbidden: not supported by this cluster",
        ),
    ],
)  # fmt: skip
async def test_roles_that_would_mean_something_else_are_refused(world, role, text):
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"

    reply = await world.ask("POST", path, {"metadata": {"name": "r"}, **role})

    assert reply.status == 422
    assert text in reply.message


async def test_a_list_of_exit_codes_of_any_length_is_answered(world):
    rule = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1] * 1_000_000}}
    pods = {"containers": [{"name": "m", "image": "i"}], "restartPolicy": "Never"}
    spec = {"podFailurePolicy": {"rules": [rule]}, "template": {"spec": pods}}
    job = {"metadata": {"name": "j"}, "spec": spec}

    reply = await world.ask("POST", "/apis/batch/v1/namespaces/default/jobs", job)

    assert reply.status == 422
    assert "Too many: 1000000: must have at most 255 items" in reply.message

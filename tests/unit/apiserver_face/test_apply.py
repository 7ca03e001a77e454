"""Server-side apply and the owners of fields, through the API server's door."""

import asyncio
from typing import Any

import pytest
import yaml

import apiserver_world
from bessemer.base.clock import SystemClock
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kube.errors import Conflict
from bessemer.kube.requests import ApplyOptions, Target

CORE = "/api/v1/namespaces/default"
MAPS = f"{CORE}/configmaps"
WEB = "/apis/apps/v1/namespaces/default/deployments/web"
RAY = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices/ray"


def config_map(name="a", **data):
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return {**head, "data": data}


def deployment(**spec):
    container = {"name": "main", "image": "busybox", "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    selector = {"matchLabels": {"app": "web"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": selector, "template": template, **spec},
    }


async def apply(world, path, obj, manager="alice", *, token=None, **options):
    words = "&".join(f"{key}={value}" for key, value in options.items())
    headers = {"content-type": "application/apply-patch+yaml"}
    where = f"{path}?fieldManager={manager}&{words}"
    return await world.ask("PATCH", where, obj, headers=headers, token=token)


async def send(world, method, path, body, manager="", kind="json"):
    query = f"?fieldManager={manager}" if manager else ""
    types = {"merge": "application/merge-patch+json", "patch": "application/json-patch+json"}
    headers = {"content-type": types.get(kind, "application/json"), "user-agent": "client/1.0 (x)"}
    return await world.ask(method, path + query, body, headers=headers)


def owners(reply):
    """The fields of each manager, by (manager, operation, subresource)."""
    return {
        (each["manager"], each["operation"], each.get("subresource", "")): each["fieldsV1"]
        for each in reply.json["metadata"].get("managedFields", ())
    }


async def test_an_apply_makes_the_object_and_owns_what_it_states(world):
    made = await apply(world, WEB, deployment(replicas=2))

    assert made.status == 201
    (entry,) = made.json["metadata"]["managedFields"]
    assert entry.pop("time") == made.json["metadata"]["creationTimestamp"]
    container = {".": {}, "f:image": {}, "f:name": {}}
    container["f:ports"] = {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
    }
    assert entry == {
        "manager": "alice",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {"f:containers": {'k:{"name":"main"}': container}},
                },
            }
        },
    }


async def test_applied_again_nothing_is_written(world):
    made = await apply(world, WEB, deployment(replicas=2))
    again = await apply(world, WEB, deployment(replicas=2))

    assert again.status == 200
    assert again.json == made.json


async def test_yaml_is_read_and_a_dry_run_writes_nothing(world):
    body = yaml.safe_dump(config_map(x="1")).encode()
    tried = await apply(world, f"{MAPS}/a", body, dryRun="All")
    absent = await world.ask("GET", f"{MAPS}/a")
    made = await apply(world, f"{MAPS}/a", body)

    assert (tried.status, absent.status, made.status) == (201, 404, 201)
    assert tried.json["data"] == made.json["data"] == {"x": "1"}
    assert owners(tried) == owners(made)


async def test_a_conflict_names_the_owner_and_the_field(world):
    await send(world, "POST", WEB.removesuffix("/web"), deployment(replicas=3), "kubectl-create")

    refused = await apply(world, WEB, deployment(replicas=5))

    who = 'conflict with "kubectl-create" using apps/v1'
    assert (refused.status, refused.json["reason"]) == (409, "Conflict")
    assert refused.message == f"Apply failed with 1 conflict: {who}: .spec.replicas"
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": who, "field": ".spec.replicas"}
    ]
    assert (await world.ask("GET", WEB)).json["spec"]["replicas"] == 3


async def test_several_conflicts_are_told_by_manager(world):
    await apply(world, f"{MAPS}/a", config_map(x="1", y="1"), "bob")
    await apply(world, f"{MAPS}/a", config_map(z="1"), "carol")

    refused = await apply(world, f"{MAPS}/a", config_map(x="2", y="2", z="2"))

    assert refused.message == (
        'Apply failed with 3 conflicts: conflicts with "bob":\n- .data.x\n- .data.y\n'
        'conflicts with "carol":\n- .data.z'
    )


async def test_force_takes_fields_over(world):
    await apply(world, WEB, deployment(replicas=3), "bob")

    forced = await apply(world, WEB, deployment(replicas=5), force="true")

    assert forced.json["spec"]["replicas"] == 5
    found = owners(forced)
    assert "f:replicas" in found["alice", "Apply", ""]["f:spec"]
    assert "f:replicas" not in found["bob", "Apply", ""]["f:spec"]
    assert "f:template" in found["bob", "Apply", ""]["f:spec"], "what both state is both's"


async def test_what_is_stated_no_more_goes_unless_another_owns_it(world):
    await apply(world, f"{MAPS}/a", config_map(mine="1", both="1"))
    await apply(world, f"{MAPS}/a", config_map(both="1", theirs="1"), "bob")
    await send(world, "PATCH", f"{MAPS}/a", {"data": {"extra": "1"}}, "carol", "merge")

    left = await apply(world, f"{MAPS}/a", config_map())

    assert left.json["data"] == {"both": "1", "theirs": "1", "extra": "1"}
    assert {manager for manager, *_ in owners(left)} == {"alice", "bob", "carol"}


async def test_list_elements_are_merged_by_their_keys(world):
    await apply(world, WEB, deployment())
    other = deployment()
    other["spec"]["template"]["spec"]["containers"] = [{"name": "side", "image": "sidecar"}]
    both = await apply(world, WEB, other, "bob")
    lone = deployment()
    lone["spec"]["template"]["spec"]["containers"] = [{"name": "main", "image": "busybox"}]
    rest = await apply(world, WEB, lone)

    containers = both.json["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in containers] == ["main", "side"]
    assert containers[0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    left = rest.json["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in left] == ["main", "side"]
    assert "ports" not in left[0], "nobody states the port any more"


async def test_sets_and_atomic_lists(world):
    mine, theirs = config_map(), config_map()
    mine["metadata"]["finalizers"] = ["x/mine"]
    theirs["metadata"]["finalizers"] = ["x/theirs"]
    await apply(world, f"{MAPS}/a", mine)
    both = await apply(world, f"{MAPS}/a", theirs, "bob")
    assert both.json["metadata"]["finalizers"] == ["x/mine", "x/theirs"]
    finalizers = owners(both)["bob", "Apply", ""]["f:metadata"]["f:finalizers"]
    assert finalizers == {'v:"x/theirs"': {}}
    other = deployment()
    await apply(world, WEB, other)
    other["spec"]["template"]["spec"]["containers"][0]["command"] = ["a"]
    await apply(world, WEB, other, "bob")
    other["spec"]["template"]["spec"]["containers"][0]["command"] = ["b"]
    refused = await apply(world, WEB, other, "carol")
    assert refused.message.endswith('containers[name="main"].command')


async def test_a_kind_without_schema_is_owned_key_by_key(world):
    predictor = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://m/a"}}
    obj = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "ray"},
        "spec": {"predictor": predictor},
    }
    made = await apply(world, RAY, obj)
    assert made.status == 201, made.body
    predictor["model"]["storageUri"] = "pvc://m/b"
    refused = await apply(world, RAY, obj, "bob")
    assert refused.message.endswith(".spec.predictor.model.storageUri")


async def test_ordinary_verbs_own_what_they_change(world):
    await send(world, "POST", MAPS, config_map(x="1", y="1"))
    patched = await send(world, "PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, "bob", "merge")
    found = owners(patched)
    assert found["client", "Update", ""] == {"f:data": {".": {}, "f:y": {}}}
    assert found["bob", "Update", ""] == {"f:data": {"f:x": {}}}
    obj = patched.json
    del obj["data"]["x"]
    obj["data"]["y"] = "2"
    put = await send(world, "PUT", f"{MAPS}/a", obj, "carol")
    assert owners(put) == {
        ("client", "Update", ""): {"f:data": {}},
        ("carol", "Update", ""): {"f:data": {"f:y": {}}},
    }
    same = await send(world, "PUT", f"{MAPS}/a", put.json, "dave")
    assert same.json == put.json, "who changes nothing owns nothing"


async def test_subresources_are_owned_apart(world):
    await apply(world, WEB, deployment(replicas=1))
    status = {"status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}}
    told = await send(world, "PATCH", f"{WEB}/status", status, "controller", "merge")
    available = {".": {}, "f:status": {}, "f:type": {}}
    assert owners(told)["controller", "Update", "status"]["f:status"] == {
        "f:conditions": {".": {}, 'k:{"type":"Available"}': available},
        "f:replicas": {},
    }
    scale = {"spec": {"replicas": 4}}
    await send(world, "PATCH", f"{WEB}/scale", scale, "scaler", "merge")
    scaled = await world.ask("GET", WEB)
    assert owners(scaled)["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    refused = await apply(world, WEB, deployment(replicas=1))
    assert refused.message.startswith(
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using'
    )
    head = {key: deployment()[key] for key in ("apiVersion", "kind", "metadata")}
    mine = await apply(world, f"{WEB}/status", {**head, "status": {"replicas": 7}}, force="true")
    assert mine.json["status"]["replicas"] == 7
    assert owners(mine)["alice", "Apply", "status"] == {"f:status": {"f:replicas": {}}}


@pytest.mark.parametrize("reset", ["merge", "patch", "put"])
async def test_owners_can_be_forgotten(world, reset):
    await send(world, "POST", MAPS, config_map(x="1"))
    if reset == "merge":
        body: Any = {"metadata": {"managedFields": [{}]}}
        told = await send(world, "PATCH", f"{MAPS}/a", body, kind="merge")
    elif reset == "patch":
        body = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
        told = await send(world, "PATCH", f"{MAPS}/a", body, kind="patch")
    else:
        obj = (await world.ask("GET", f"{MAPS}/a")).json
        obj["metadata"]["managedFields"] = [{}]
        told = await send(world, "PUT", f"{MAPS}/a", obj)
    assert told.status == 200
    assert "managedFields" not in told.json["metadata"]
    later = await send(world, "PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, "bob", "merge")
    assert owners(later) == {}, "untracked until somebody applies"
    first = await apply(world, f"{MAPS}/a", config_map(y="1"))
    assert owners(first)["before-first-apply", "Update", ""] == {"f:data": {".": {}, "f:x": {}}}


@pytest.mark.parametrize(
    "garbage",
    [
        "x",
        [[]],
        [{"manager": 1, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}],
        [{"operation": "Take", "apiVersion": "v1", "fieldsType": "FieldsV1"}],
        [{"operation": "Apply", "apiVersion": "v1", "fieldsType": "V2"}],
        [{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "time": "noon"}],
        [{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
          "fieldsV1": {"z:a": {}}}],
        [{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
          "fieldsV1": {"k:{": {}}}],
    ],
)  # fmt: skip
async def test_owners_that_can_not_be_read_change_nothing(world, garbage):
    made = await send(world, "POST", MAPS, config_map(x="1"))
    body = {"metadata": {"managedFields": garbage}}
    told = await send(world, "PATCH", f"{MAPS}/a", body, kind="merge")
    assert owners(told) == owners(made)


@pytest.mark.parametrize(
    ("change", "options", "status", "text"),
    [
        ({}, {"manager": ""}, 422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Requi'),
        ({}, {"manager": "x" * 129}, 422, "fieldManager: Too long"),
        ({}, {"manager": "a%07"}, 422, "invalid character U+0007 (at position 1)"),
        ({}, {"dryRun": "Some"}, 400, 'dryRun: Unsupported value: "Some"'),
        ({"kind": "Secret"}, {}, 400, "invalid object type: /v1, Kind=Secret"),
        ({"apiVersion": None}, {}, 400, "invalid object type: /, Kind=ConfigMap"),
        ({"metadata": {"name": "b"}}, {}, 400, "does not match the name on the URL (a)"),
        ({"metadata": {}}, {}, 400, "was undeterminable"),
        ({"metadata": {"name": "a", "namespace": "other"}}, {}, 400, "does not match the namesp"),
        ({"metadata": {"name": "a", "managedFields": []}}, {}, 400, "managedFields must be nil"),
        ({"metadata": {"name": "a", "uid": "7"}}, {}, 409, "uid mismatch: the provided object sp"),
        ({"datta": {}}, {}, 400, ".datta: field not declared in schema"),
        ({"data": {"x": 1}}, {}, 400, "cannot unmarshal number"),
    ],
)
async def test_applies_that_are_refused(world, change, options, status, text):
    refused = await apply(world, f"{MAPS}/a", config_map(x="1") | change, **options)
    assert refused.status == status
    assert text in refused.message
    assert (await world.ask("GET", MAPS)).json["items"] == []


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([{"name": "x"}], 'an element that omits key field "containerPort"'),
        (
            [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}],
            '.spec.template.spec.containers[name="main"].ports: duplicate entries for key '
            '[containerPort=1,protocol="TCP"]',
        ),
    ],
)
async def test_list_elements_must_be_told_apart(world, ports, text):
    obj = deployment()
    obj["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    refused = await apply(world, WEB, obj)
    assert refused.status == 400
    assert text in refused.message


async def test_force_is_for_applies_alone(world):
    await send(world, "POST", MAPS, config_map(x="1"))
    headers = {"content-type": "application/merge-patch+json"}
    refused = await world.ask("PATCH", f"{MAPS}/a?force=true", {}, headers=headers)
    assert refused.status == 422
    assert "force: Forbidden: may not be specified for non-apply patch" in refused.message


async def test_an_old_version_and_another_uid_conflict(world):
    made = await apply(world, f"{MAPS}/a", config_map(x="1"))
    await apply(world, f"{MAPS}/a", config_map(x="2"))
    for name, value in (
        ("resourceVersion", made.json["metadata"]["resourceVersion"]),
        ("uid", "0123"),
    ):
        obj = config_map(x="3")
        obj["metadata"][name] = value
        assert (await apply(world, f"{MAPS}/a", obj)).status == 409
    assert (await world.ask("GET", f"{MAPS}/a")).json["data"] == {"x": "2"}


async def test_who_may_patch_may_not_make_by_apply(world):
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}
    token = await world.account("patcher", [rule])
    await send(world, "POST", MAPS, config_map(x="1"))

    changed = await apply(world, f"{MAPS}/a", config_map(y="1"), token=token)
    refused = await apply(world, f"{MAPS}/b", config_map("b"), token=token)

    assert changed.status == 200
    assert refused.status == 403
    assert 'cannot create resource "configmaps"' in refused.message


async def test_an_editor_of_another_namespace_can_not_apply_here(world):
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}
    token = await world.account("editor", [rule], namespace="other")

    refused = await apply(world, f"{MAPS}/a", config_map(), token=token)
    there = MAPS.replace("default", "other")
    inside = config_map()
    inside["metadata"]["namespace"] = "default"
    crossed = await apply(world, f"{there}/a", inside, token=token)
    own = await apply(world, f"{there}/a", config_map(), token=token)

    assert (refused.status, crossed.status, own.status) == (403, 400, 201)
    assert (await world.ask("GET", MAPS)).json["items"] == []


async def test_rights_that_one_lacks_are_not_applied_either(world):
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["*"]}]
    token = await world.account("roler", [{**rules[0], "verbs": ["create", "patch", "get"]}])
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/wide"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "wide"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    }
    refused = await apply(world, path, role, token=token)
    assert refused.status == 403
    assert "attempting to grant RBAC permissions not currently held" in refused.message
    role["rules"] = []
    assert (await apply(world, path, role, token=token)).status == 201
    role["rules"] = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert (await apply(world, path, role, token=token)).status == 403


async def test_many_updaters_share_an_entry(world):
    await send(world, "POST", MAPS, config_map(x="1"), "m00")
    for number in range(1, 14):
        body = {"data": {f"k{number}": "1"}}
        told = await send(world, "PATCH", f"{MAPS}/a", body, f"m{number:02}", "merge")
    found = owners(told)
    assert len(found) == 10
    ancient = found["ancient-changes", "Update", ""]["f:data"]
    assert {"f:x", "f:k1", "f:k2", "f:k3", "f:k4"} <= ancient.keys()


async def test_our_own_controllers_writes_are_followed_where_somebody_is(world):
    await apply(world, f"{MAPS}/a", config_map(x="1"))
    found = (await world.ask("GET", f"{MAPS}/a")).json
    found["data"]["x"] = "2"
    kind = world.machine.kinds["configmaps"]
    await world.client.update(kind, found)
    told = await world.ask("GET", f"{MAPS}/a")
    assert owners(told) == {("bessemer", "Update", ""): {"f:data": {"f:x": {}}}}
    made = await world.client.create(kind, {"metadata": {"name": "b", "namespace": "default"}})
    assert "managedFields" not in made["metadata"]


async def test_two_that_apply_at_once_are_both_there(world):
    made = await asyncio.gather(
        *(apply(world, f"{MAPS}/a", config_map(**{name: "1"}), name) for name in "abcdef")
    )
    assert sorted(reply.status for reply in made) == [200] * 5 + [201]
    told = await world.ask("GET", f"{MAPS}/a")
    assert told.json["data"].keys() == set("abcdef")
    assert {manager for manager, *_ in owners(told)} == set("abcdef")


async def test_an_apply_without_its_finalizer_ends_the_deletion(world):
    obj = config_map(x="1")
    obj["metadata"]["finalizers"] = ["x/y"]
    await apply(world, f"{MAPS}/a", obj)
    await world.ask("DELETE", f"{MAPS}/a")
    del obj["metadata"]["finalizers"]
    await apply(world, f"{MAPS}/a", obj)
    assert (await world.ask("GET", f"{MAPS}/a")).status == 404


async def test_what_admission_gives_is_nobodys(world):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]},
    }
    made = await send(world, "POST", f"{CORE}/pods", pod, "kubectl")
    (fields,) = owners(made).values()
    assert made.json["spec"]["volumes"]
    assert not {"f:volumes", "f:serviceAccountName"} & fields["f:spec"].keys()
    assert {"f:containers", "f:dnsPolicy", "f:restartPolicy"} <= fields["f:spec"].keys()
    main = fields["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert {".", "f:image", "f:name", "f:resources"} <= main.keys()
    assert "f:volumeMounts" not in main


async def test_who_says_no_name_begins_no_record(world):
    made = await world.ask("POST", MAPS, config_map(x="1"))
    assert "managedFields" not in made.json["metadata"]
    await apply(world, f"{MAPS}/a", config_map(y="1"))
    told = await world.ask(
        "PATCH",
        f"{MAPS}/a",
        {"data": {"y": "2"}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert owners(told)["unknown", "Update", ""] == {"f:data": {"f:y": {}}}


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("kubectl/v1.37 (linux/amd64)", "kubectl"),
        ("OpenAPI-Generator/30/python", "OpenAPI-Generator"),
        ("x" * 1000, "x" * 128),
        ("a\x07b/1", "ab"),
    ],
)
async def test_a_manager_is_named_by_its_agent(world, agent, name):
    headers = {"user-agent": agent}
    made = await world.ask("POST", MAPS, config_map(x="1"), headers=headers)
    assert owners(made).keys() == {(name, "Update", "")}


async def test_an_object_is_rather_kept_without_its_owners_than_not_at_all(world):
    obj = config_map()
    obj["metadata"]["labels"] = {f"k{number}": "" for number in range(130_000)}
    made = await send(world, "POST", MAPS, obj)
    assert made.status == 201
    assert "managedFields" not in made.json["metadata"]
    assert len(made.json["metadata"]["labels"]) == 130_000


async def test_thousands_of_managers_are_told_shortly_and_let_go(world):
    entry = {"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    fields = {"f:data": {"f:x": {}}}
    entries = [{**entry, "manager": f"m{n}", "fieldsV1": fields} for n in range(5000)]
    await send(world, "POST", MAPS, config_map(x="1"))
    body = {"metadata": {"managedFields": entries}}
    taken = await send(world, "PATCH", f"{MAPS}/a", body, kind="merge")
    assert len(owners(taken)) == 5000
    refused = await apply(world, f"{MAPS}/a", config_map(x="2"))
    assert len(refused.json["details"]["causes"]) == 100
    assert len(refused.body) < 30_000
    forced = await apply(world, f"{MAPS}/a", config_map(x="2"), force="true")
    assert owners(forced).keys() == {("alice", "Apply", "")}


async def test_the_scale_is_applied_too(world):
    await apply(world, WEB, deployment(replicas=1), "bob")
    stated = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}}
    refused = await apply(world, f"{WEB}/scale", stated)
    assert refused.message.endswith(': conflict with "bob": .spec.replicas')
    forced = await apply(world, f"{WEB}/scale", stated, force="true")
    assert (forced.status, forced.json["kind"]) == (200, "Scale")
    assert forced.json["spec"]["replicas"] == 3
    told = await world.ask("GET", WEB)
    assert owners(told)["alice", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}
    absent = await apply(world, f"{WEB}x/scale", stated)
    assert absent.status == 404


async def test_keys_given_twice_are_refused_where_it_is_asked_for(world):
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{},"data":{}}'
    refused = await apply(world, f"{MAPS}/a", body, fieldValidation="Strict")
    assert refused.status == 400
    assert 'duplicate field "data"' in refused.message


async def test_owners_outlive_the_server(tmp_path):
    async with apiserver_world.running(tmp_path) as first:
        made = await apply(first, f"{MAPS}/a", config_map(x="1"))
    store = Store(tmp_path / "objects.db")
    machine = Machine(store, SystemClock())
    try:
        stated, options = config_map(x="2"), ApplyOptions("bob")
        target = Target(CONFIG_MAP, "default", "a")
        with pytest.raises(Conflict, match='conflict with "alice"'):
            await machine.apply(target, stated, options)
        assert machine.get(target).object == made.json
    finally:
        await store.close()

"""A second user who tries what he may not, and bodies that nobody would send in good faith."""

import pytest

CORE = "/api/v1/namespaces"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
# All of one namespace: what its owner has.
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
async def owner(world):
    """Asks as the owner of namespace ``other``."""
    token = await world.account("owner", [EVERYTHING], namespace="other")

    async def ask(method, path, body=None, **more):
        return await world.ask(method, path, body, token=token, **more)

    return ask


# ---- out of one's namespace


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{CORE}/other/nodes"),
        ("GET", f"{CORE}/other/namespaces/default"),
        ("DELETE", f"{CORE}/other/namespaces/default"),
        ("GET", f"{RBAC}/namespaces/other/clusterroles"),
        ("POST", f"{RBAC}/namespaces/other/clusterrolebindings"),
    ],
)
async def test_what_belongs_to_the_cluster_is_in_no_namespace(world, owner, method, path):
    binding = {
        "metadata": {"name": "mine"},
        "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "owner", "namespace": "other"}],
    }
    role = {"metadata": {"name": "admin"}, "rules": [EVERYTHING]}
    assert (await world.ask("POST", f"{RBAC}/clusterroles", role)).status == 201

    reply = await owner(method, path, binding if method == "POST" else None)

    assert reply.status == 404
    assert (await world.ask("GET", f"{RBAC}/clusterrolebindings")).json["items"] == []
    assert (await world.ask("GET", f"{CORE}/default")).json["status"]["phase"] == "Active"


async def test_the_rest_of_a_list_is_for_who_may_list_it(world, owner):
    for name in "abc":
        secret = {"metadata": {"name": name}, "stringData": {"k": "hidden"}}
        await world.ask("POST", f"{CORE}/default/secrets", secret)
    first = (await world.ask("GET", f"{CORE}/default/secrets?limit=1")).json
    token = first["metadata"]["continue"]

    stolen = await owner("GET", f"{CORE}/other/secrets?limit=1&continue={token}")
    other_kind = await owner("GET", f"{CORE}/other/configmaps?limit=1&continue={token}")
    rest = await world.ask("GET", f"{CORE}/default/secrets?limit=9&continue={token}")

    assert (stolen.status, other_kind.status) == (400, 400)
    assert [item["metadata"]["name"] for item in rest.json["items"]] == ["b", "c"]


async def test_a_right_in_one_namespace_asks_about_that_alone(world, owner):
    await world.account("bob", [{**EVERYTHING, "verbs": ["get"]}])
    about = {"user": "system:serviceaccount:default:bob"}
    pods = {"verb": "get", "resource": "pods"}

    def spec(namespace):
        return {"spec": {**about, "resourceAttributes": {**pods, "namespace": namespace}}}

    inside = f"{AUTHORIZATION}/namespaces/other"
    own = await owner("POST", f"{inside}/localsubjectaccessreviews", spec("other"))
    far = await owner("POST", f"{inside}/localsubjectaccessreviews", spec("default"))
    wide = await owner("POST", f"{inside}/subjectaccessreviews", spec("default"))
    tokens = "/apis/authentication.k8s.io/v1/namespaces/other/tokenreviews"
    asked = await owner("POST", tokens, {"spec": {"token": "x"}})
    nowhere = await world.ask("POST", f"{AUTHORIZATION}/localsubjectaccessreviews", spec("other"))

    assert (own.status, own.json["status"]["allowed"]) == (201, False)
    assert (far.status, wide.status, asked.status, nowhere.status) == (400, 404, 404, 404)


# ---- more rights than one has


@pytest.fixture
async def clerk(world):
    """Asks as one who may write roles and bindings of ``default``, and read one config map."""
    write = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"],
             "verbs": ["create", "update", "patch", "get"]}  # fmt: skip
    one = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [""], "verbs": ["get"]}
    token = await world.account("clerk", [write, one])

    async def ask(method, path, body=None, **more):
        return await world.ask(
            method, f"{RBAC}/namespaces/default{path}", body, token=token, **more
        )

    return ask


def bound(role, kind="ClusterRole", name="mine"):
    subject = {"kind": "ServiceAccount", "name": "clerk", "namespace": "default"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    return {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}


async def test_a_role_is_bound_by_who_holds_it_or_may_bind_it(world, clerk):
    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    await world.ask(
        "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "all"}, "rules": [EVERYTHING]}
    )
    await world.ask(
        "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "few"}, "rules": [secrets]}
    )

    more = await clerk("POST", "/rolebindings", bound("all"))
    early = await clerk("POST", "/rolebindings", bound("not-yet-made"))
    own_role = await clerk("POST", "/rolebindings", bound("clerk", "Role"))
    wider = {"roleRef": {"kind": "ClusterRole", "name": "all"}}
    widened = await clerk("PATCH", "/rolebindings/clerk", wider, headers=MERGE)
    bind = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": ["few"], "verbs": ["bind"]}  # fmt: skip
    change = {"rules": [*(await clerk("GET", "/roles/clerk")).json["rules"], bind]}
    by_himself = await clerk("PATCH", "/roles/clerk", change, headers=MERGE)
    given = await world.ask(
        "PATCH", f"{RBAC}/namespaces/default/roles/clerk", change, headers=MERGE
    )
    allowed = await clerk("POST", "/rolebindings", bound("few", name="b"))

    assert (more.status, early.status, own_role.status) == (403, 404, 201)
    assert "attempting to grant RBAC permissions not currently held" in more.message
    assert (widened.status, by_himself.status) == (403, 403)
    assert (given.status, allowed.status) == (200, 201)


async def test_a_name_alone_does_not_cover_all_names(clerk):
    every = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}

    reply = await clerk("POST", "/roles", {"metadata": {"name": "r"}, "rules": [every]})

    assert reply.status == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rolebindings", {"metadata": {"name": "a"}, "roleRef": "all"}),
        ("/rolebindings", {"metadata": {"name": "a"}, "roleRef": ["x"]}),
        ("/rolebindings", {"metadata": {"name": "a"}}),
        ("/roles", {"metadata": {"name": "a"}, "rules": {"verbs": ["*"]}}),
        ("/roles", {"metadata": {"name": "a"}, "rules": ["*"]}),
        ("/roles", {"metadata": {"name": "a"}, "rules": [{"verbs": "*"}]}),
    ],
)
async def test_rights_of_a_wrong_shape_are_refused(clerk, path, body):
    assert (await clerk("POST", path, body)).status in (400, 422)


async def test_a_right_to_one_name_lists_and_watches_it(world):
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"],
            "verbs": ["list", "watch"]}  # fmt: skip
    token = await world.account("bob", [rule])
    path = f"{CORE}/default/configmaps"
    for name in "ab":
        await world.ask("POST", path, {"metadata": {"name": name}})

    one = await world.ask("GET", f"{path}?fieldSelector=metadata.name%3Da", token=token)
    other = await world.ask("GET", f"{path}?fieldSelector=metadata.name%3Db", token=token)
    not_one = await world.ask("GET", f"{path}?fieldSelector=metadata.name!%3Db", token=token)
    watch = f"{path}?watch=1&timeoutSeconds=-1&fieldSelector=metadata.name%3Da"

    assert [item["metadata"]["name"] for item in one.json["items"]] == ["a"]
    assert (other.status, not_one.status) == (403, 403)
    assert (await world.ask("GET", watch, token=token)).status == 200


# ---- what can not be changed


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ({"metadata": {"name": "b"}}, 400),
        ({"metadata": {"namespace": "default"}}, 400),
        ({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}, 409),
        ({"metadata": {"resourceVersion": "1"}}, 409),
        ({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}}, 200),
        ({"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}}, 200),
        ({"kind": "Secret"}, 400),
    ],
)
async def test_identity_is_kept(owner, patch, status):
    before = (await owner("POST", f"{CORE}/other/configmaps", {"metadata": {"name": "a"}})).json

    reply = await owner("PATCH", f"{CORE}/other/configmaps/a", patch, headers=MERGE)

    assert reply.status == status
    assert (await owner("GET", f"{CORE}/other/configmaps/a")).json == before


async def test_a_status_is_written_at_its_own_door_alone(owner):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": {"name": "c"}, "spec": spec}
    path = f"{CORE}/other/persistentvolumeclaims"
    await owner("POST", path, {**claim, "status": {"phase": "Bound"}})
    status = {"status": {"phase": "Lost"}, "metadata": {"labels": {"a": "b"}}}

    main = (await owner("PATCH", f"{path}/c", {"status": {"phase": "Lost"}}, headers=MERGE)).json
    part = (await owner("PATCH", f"{path}/c/status", status, headers=MERGE)).json

    assert main["status"]["phase"] == "Pending"
    assert part["status"]["phase"] == "Lost"
    assert "labels" not in part["metadata"]


async def test_all_namespaces_are_not_deleted_at_once(world):
    reply = await world.ask("DELETE", CORE)

    listed = (await world.ask("GET", "/api/v1")).json["resources"]
    verbs = {entry["name"]: entry["verbs"] for entry in listed}
    assert reply.status == 405
    assert "deletecollection" not in verbs["namespaces"]
    assert "deletecollection" in verbs["pods"]
    assert (await world.ask("GET", f"{CORE}/other")).json["status"]["phase"] == "Active"


async def test_a_collection_of_all_namespaces_is_not_deleted_at_once(world):
    await world.ask("POST", f"{CORE}/other/configmaps", {"metadata": {"name": "a"}})

    reply = await world.ask("DELETE", "/api/v1/configmaps")

    assert reply.status == 405
    assert (await world.ask("GET", f"{CORE}/other/configmaps/a")).status == 200


async def test_a_collection_is_deleted_by_labels_and_fields(owner):
    path = f"{CORE}/other/configmaps"
    for name in ("a", "b", "c"):
        labels = {"of": "x" if name != "c" else "y"}
        await owner("POST", path, {"metadata": {"name": name, "labels": labels}})

    tried = await owner("DELETE", f"{path}?labelSelector=of%3Dx&dryRun=All")
    kept = (await owner("GET", path)).json["items"]
    await owner("DELETE", f"{path}?labelSelector=of%3Dx&fieldSelector=metadata.name%3Da")
    left = (await owner("GET", path)).json["items"]

    assert len(tried.json["items"]) == 2
    assert len(kept) == 3
    assert [item["metadata"]["name"] for item in left] == ["b", "c"]


async def test_dry_runs_bind_nothing(world, owner):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "m", "image": "i"}]}}
    await owner("POST", f"{CORE}/other/pods", pod)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}

    reply = await owner("POST", f"{CORE}/other/pods/p/binding?dryRun=All", binding)

    assert reply.status == 201
    assert "nodeName" not in (await owner("GET", f"{CORE}/other/pods/p")).json["spec"]


# ---- parameters and bodies


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("resourceVersion=0", 200),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan", 200),
        ("resourceVersion=999999999", 504),
        ("resourceVersion=latest", 400),
        ("resourceVersion=" + "9" * 5000, 400),
        ("resourceVersion=%D9%A3", 400),
        ("resourceVersion=1&resourceVersionMatch=Exact", 410),
        ("resourceVersionMatch=Exact", 400),
        ("resourceVersion=1&resourceVersionMatch=Roughly", 400),
        ("limit=many", 400),
        ("limit=-1", 200),
        ("continue=%00", 400),
        ("continue=WzEsLTEsMV0=", 400),
        ("resourceVersion=1&continue=WzEsMSwxXQ==", 400),
        ("labelSelector=%ff", 400),
        ("fieldSelector=metadata.uid%3Dx", 400),
        ("watch=1&resourceVersion=999999999", 504),
        ("watch=1&resourceVersion=-1", 400),
    ],
)
async def test_a_list_s_parameters(owner, query, status):
    reply = await owner("GET", f"{CORE}/other/configmaps?{query}")

    assert reply.status == status


@pytest.mark.parametrize("watch", ["", "watch=1&"])
async def test_a_version_that_is_still_to_come_is_told_as_clients_look_for_it(owner, watch):
    query = f"{watch}resourceVersion=999999999"

    reply = await owner("GET", f"{CORE}/other/configmaps?{query}")

    (cause,) = reply.json["details"]["causes"]
    assert cause["reason"] == "ResourceVersionTooLarge"
    assert reply.json["details"]["retryAfterSeconds"] == 1


async def test_a_page_without_a_usable_limit_is_all_the_rest(owner):
    path = f"{CORE}/other/configmaps"
    for name in "abc":
        await owner("POST", path, {"metadata": {"name": name}})
    token = (await owner("GET", f"{path}?limit=1")).json["metadata"]["continue"]

    rest = (await owner("GET", f"{path}?limit=-1&continue={token}")).json

    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c"]
    assert "continue" not in rest["metadata"]


async def test_an_object_is_read_whatever_is_said_of_watching(world):
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    token = await world.account("bob", [rule])
    path = f"{CORE}/default/configmaps"
    await world.ask("POST", path, {"metadata": {"name": "a"}})

    reply = await world.ask("GET", f"{path}/a?watch=1&timeoutSeconds=1", token=token)

    assert (reply.status, reply.json["metadata"]["name"]) == (200, "a")


@pytest.mark.parametrize("query", ["", "watch=1&timeoutSeconds=1"])
async def test_a_form_that_nobody_has_is_refused_before_anything_is_sent(owner, query):
    path = f"{CORE}/other/configmaps"
    await owner("POST", path, {"metadata": {"name": "a"}})
    accept = {"accept": "application/json;as=Picture;v=v1;g=meta.k8s.io"}

    reply = await owner("GET", f"{path}?{query}", headers=accept)

    assert (reply.status, reply.json["reason"]) == (406, "NotAcceptable")


@pytest.mark.parametrize(
    "options",
    [
        {"gracePeriodSeconds": "now"}, {"gracePeriodSeconds": 1.5}, {"preconditions": [1]},
        {"preconditions": {"uid": 3}}, {"dryRun": 1}, {"dryRun": ["Some"]},
        {"propagationPolicy": 1}, {"propagationPolicy": "Sideways"}, [1],
    ],
)  # fmt: skip
async def test_options_of_a_delete_that_make_no_sense_delete_nothing(owner, options):
    await owner("POST", f"{CORE}/other/configmaps", {"metadata": {"name": "a"}})

    assert (await owner("DELETE", f"{CORE}/other/configmaps/a", options)).status == 400
    assert (await owner("GET", f"{CORE}/other/configmaps/a")).status == 200


async def test_a_job_s_pods_are_kept_unless_somebody_says_otherwise(owner):
    pods = {"spec": {"containers": [{"name": "m", "image": "i"}], "restartPolicy": "Never"}}
    path = "/apis/batch/v1/namespaces/other/jobs"
    for name in "ab":
        await owner("POST", path, {"metadata": {"name": name}, "spec": {"template": pods}})

    silent = await owner("DELETE", f"{path}/a")
    told = await owner("DELETE", f"{path}/b", {"propagationPolicy": "Background"})

    assert "orphan" in silent.json["metadata"]["finalizers"]
    assert "child pods are preserved by default" in silent.headers["warning"][0]
    assert told.json["status"] == "Success"
    assert "warning" not in told.headers


async def test_a_key_given_twice_is_told_where_fields_are_validated(owner):
    body = b'{"metadata":{"name":"%s","labels":{"a":"1","a":"2"}},"data":{"k":"v"},"data":{}}'
    path = f"{CORE}/other/configmaps"

    strict = await owner("POST", f"{path}?fieldValidation=Strict", body % b"a")
    warned = await owner("POST", f"{path}?fieldValidation=Warn", body % b"b")
    ignored = await owner("POST", f"{path}?fieldValidation=Ignore", body % b"c")

    assert strict.status == 400
    assert strict.message.endswith(
        'strict decoding error: duplicate field "metadata.labels.a", duplicate field "data"'
    )
    assert (warned.status, ignored.status) == (201, 201)
    assert len(warned.headers["warning"]) == 2
    assert "warning" not in ignored.headers


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"metadata":{"name":"a"},"data":{"k":"\xff"}}', {}),
        (b'{"metadata":{"name":"a"},"data":{"k":"\\ud800"}}', {}),
        (b"metadata: {name: a}\ndata: {k: \xff}\n", {"content-type": "application/yaml"}),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", {"content-encoding": "gzip"}),
        (b"\xfe\xff\x00{\x00}", {}),
    ],
)
async def test_what_is_no_text_is_refused(owner, body, headers):
    reply = await owner("POST", f"{CORE}/other/configmaps", body, headers=headers)

    assert (reply.status, reply.json["reason"]) == (400, "BadRequest")


async def test_pretty_is_indented(owner):
    reply = await owner("GET", f"{CORE}/other/configmaps?pretty=true")
    plain = await owner("GET", f"{CORE}/other/configmaps?pretty=false")

    assert reply.body.startswith(b'{\n  "kind"')
    assert reply.json == plain.json
    assert b"\n" not in plain.body


async def test_taken_names_are_tried_again(owner):
    path = f"{CORE}/other/configmaps"

    made = [await owner("POST", path, {"metadata": {"generateName": "x-"}}) for _ in range(20)]
    both = await owner("POST", path, {"metadata": {"generateName": "x-", "name": "n"}})

    assert len({reply.json["metadata"]["name"] for reply in made}) == 20
    assert both.json["metadata"]["name"] == "n"


async def test_head_and_unknown_methods_are_refused(owner):
    replies = [await owner(m, f"{CORE}/other/configmaps") for m in ("HEAD", "OPTIONS", "TRACE")]

    assert {reply.status for reply in replies} == {405}

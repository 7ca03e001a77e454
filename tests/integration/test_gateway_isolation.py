"""Models of one namespace and callers of another, through the real Envoy."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import gateway_world
from bessemer.base.clock import SystemClock
from bessemer.cluster.apiserver.tokens import AUDIENCE, ISSUER, TokenIssuer
from bessemer.gateway.bootstrap import Authentication, make_jwks
from bessemer.kinds import meta
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.client import Client
from gateway_world import World, make_route_spec

ADMIN = "the-admin-token"
RBAC = "rbac.authorization.k8s.io"
STRANGER = {"kind": "ServiceAccount", "name": "stranger", "namespace": "theirs"}


@dataclass
class Isolated:
    """Two namespaces, "ours" with models, and an account in each."""

    world: World
    key: ed25519.Ed25519PrivateKey
    http: httpx.AsyncClient

    @property
    def client(self) -> Client:
        return self.world.client

    def token(self, namespace: str, account: str, seconds: int = 3600) -> str:
        issuer = TokenIssuer(self.key, self.world.machine.lookup, SystemClock())
        return issuer.issue(namespace, account, seconds=seconds)

    async def ask(
        self, token: str, path: str = "/serving/ours/iris/v2", **headers: str
    ) -> httpx.Response:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return await self.http.get(path, headers=headers)

    async def until(self, token: str, status: int, path: str = "/serving/ours/iris/v2") -> None:
        async def answers() -> bool:
            return (await self.ask(token, path)).status_code == status

        await self.world.until(answers)

    async def serve(self, name: str) -> None:
        """A model of that name: its backend, and the routes as serving makes them."""
        await self.world.add_backend(name, "ours")
        isvc = meta.new(INFERENCE_SERVICE, name, "ours")
        isvc["metadata"]["uid"] = f"uid-of-{name}"
        by_path = make_route_spec(f"/serving/ours/{name}", {name: 100})
        by_host = make_route_spec("/", {name: 100}, hosts=(f"{name}-ours.localhost",))
        for route_name, spec in ((name, by_path), (f"{name}-host", by_host)):
            route = meta.new(
                HTTP_ROUTE, route_name, "ours", owners=[meta.owner_reference(isvc)], spec=spec
            )
            await self.client.create(HTTP_ROUTE, route)
            await self.world.until_programmed(route_name, "ours")


@pytest.fixture
async def isolated(tmp_path: Path) -> AsyncIterator[Isolated]:
    key = ed25519.Ed25519PrivateKey.generate()
    jwks = make_jwks(key.public_key().public_bytes_raw())
    known = Authentication(ADMIN, jwks, ISSUER, AUDIENCE)
    async with (
        gateway_world.open_world(tmp_path, known) as world,
        httpx.AsyncClient(base_url=world.url) as http,
    ):
        for namespace, account in (("ours", "owner"), ("theirs", "stranger")):
            await world.client.create(NAMESPACE, meta.new(NAMESPACE, namespace))
            await world.client.create(
                SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, account, namespace)
            )
        isolated = Isolated(world, key, http)
        await isolated.serve("iris")
        yield isolated


def make_rule(*names: str, verb: str = "get") -> Object:
    rule: Object = {
        "apiGroups": ["serving.kserve.io"],
        "resources": ["inferenceservices"],
        "verbs": [verb],
    }
    return {**rule, "resourceNames": list(names)} if names else rule


def make_binding(kind: str, role: str, subject: Object, namespace: str = "") -> Object:
    return meta.new(
        ROLE_BINDING if namespace else CLUSTER_ROLE_BINDING,
        "callers",
        namespace,
        roleRef={"apiGroup": RBAC, "kind": kind, "name": role},
        subjects=[subject],
    )


async def test_only_the_admin_and_the_namespaces_own_accounts_pass(isolated: Isolated) -> None:
    owner, stranger = isolated.token("ours", "owner"), isolated.token("theirs", "stranger")

    assert [(await isolated.ask(token)).status_code for token in (ADMIN, owner)] == [200, 200]
    refused = await isolated.ask(stranger)

    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/json"
    text = refused.json()["error"]
    assert 'the models of namespace "ours"' in text
    assert 'got "system:serviceaccount:theirs:stranger"' in text
    assert len(isolated.world.backends["iris"].requests) == 2


async def test_by_host_the_same_holds(isolated: Isolated) -> None:
    stranger = isolated.token("theirs", "stranger")
    host = "iris-ours.localhost"

    assert (await isolated.ask(ADMIN, "/v2", Host=host)).status_code == 200
    assert (await isolated.ask(isolated.token("ours", "owner"), "/v2", Host=host)).text == "iris"
    for path in ("/v2", "/", "/v2/models/iris/infer", "/metrics", "//v2", "/./v2", "/%76%32"):
        assert (await isolated.ask(stranger, path, Host=host)).status_code == 403, path
    # The path of one model with the host of another's finds the guard of whichever it takes.
    assert (await isolated.ask(stranger, "/serving/ours/iris", Host=host)).status_code == 403
    assert (await isolated.ask("", "/v2", Host=host)).status_code == 401


async def test_what_is_not_a_token_of_this_home_is_401(isolated: Isolated) -> None:
    expired = isolated.token("ours", "owner", seconds=-1000)
    head, payload, signature = isolated.token("ours", "owner").split(".")
    forged = f"{head}.{payload}.{signature[:-4]}AAAA"

    for token in ("", "garbage", "a.b.c", expired, forged):
        assert (await isolated.ask(token)).status_code == 401, token
    assert isolated.world.backends["iris"].requests == []


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_the_schemes_case_does_not_matter(isolated: Isolated, scheme: str) -> None:
    for token in (ADMIN, isolated.token("ours", "owner")):
        header = {"Authorization": f"{scheme} {token}"}
        assert (await isolated.http.get("/serving/ours/iris/v2", headers=header)).text == "iris"
    for token in (ADMIN.upper(), f" {ADMIN}", f"{ADMIN} ", f"{ADMIN}x"):
        header = {"Authorization": f"{scheme} {token.strip()}x"}
        refused = await isolated.http.get("/serving/ours/iris/v2", headers=header)
        assert refused.status_code == 401


async def test_a_token_in_the_url_is_none(isolated: Isolated) -> None:
    token = isolated.token("ours", "owner")

    refused = await isolated.http.get("/serving/ours/iris/v2", params={"access_token": token})

    assert refused.status_code == 401


async def test_the_gateways_own_answers_are_json(isolated: Isolated) -> None:
    route = meta.new(HTTP_ROUTE, "void", "ours", spec=make_route_spec("/void", {"void": 100}))
    await isolated.client.create(HTTP_ROUTE, route)
    await isolated.world.until_programmed("void", "ours")

    answers = {
        401: await isolated.ask(""),
        404: await isolated.ask(ADMIN, "/nowhere"),
        503: await isolated.ask(ADMIN, "/void"),
    }

    assert {answer.status_code for answer in answers.values()} == set(answers)
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/json"}
    assert "Authorization: Bearer" in answers[401].json()["error"]
    assert all(answer.json()["error"] for answer in answers.values())


CHANGES = (
    "/v2/repository/models/iris/unload",
    "/v2/repository/models/iris/load",
    "/v2//repository//models/iris/unload",
    "/v2/x/../repository/models/iris/unload",
    "/v2/repository/models/iris/%75nload",
    "/v2/repository/%6dodels/iris/unload",
)


async def test_who_may_ask_may_not_unload(isolated: Isolated) -> None:
    owner = isolated.token("ours", "owner")
    prefixes = [("/serving/ours/iris", {}), ("", {"Host": "iris-ours.localhost"})]

    for prefix, headers in prefixes:
        for path in CHANGES:
            answer = await isolated.ask(owner, prefix + path, **headers)
            assert answer.status_code == 403, path
        assert (await isolated.ask(ADMIN, prefix + CHANGES[0], **headers)).status_code == 200
    answer = await isolated.ask(owner, "/serving/ours/iris" + CHANGES[0])
    assert "update inferenceservices" in answer.json()["error"]
    rule = make_rule(verb="update")
    await isolated.client.create(ROLE, meta.new(ROLE, "changer", "ours", rules=[rule]))
    subject = {"kind": "ServiceAccount", "name": "owner", "namespace": "ours"}
    await isolated.client.create(ROLE_BINDING, make_binding("Role", "changer", subject, "ours"))
    await isolated.until(owner, 200, "/serving/ours/iris" + CHANGES[0])


async def test_where_no_route_leads_nobody_is_told_that_it_is_forbidden(
    isolated: Isolated,
) -> None:
    for token in (ADMIN, isolated.token("ours", "owner"), isolated.token("theirs", "stranger")):
        answer = await isolated.ask(token, "/serving/ours/other/v2")
        assert answer.status_code == 404
        assert "no route" in answer.json()["error"]
    # What Envoy says of itself stays the admin's, and whether it answers everyone's.
    assert (await isolated.ask("", "/-/ready")).status_code == 200
    assert (await isolated.ask(isolated.token("ours", "owner"), "/-/clusters")).status_code == 401


@pytest.mark.parametrize(
    "subject",
    [
        STRANGER,
        {"apiGroup": RBAC, "kind": "User", "name": "system:serviceaccount:theirs:stranger"},
        {"apiGroup": RBAC, "kind": "Group", "name": "system:serviceaccounts:theirs"},
        {"apiGroup": RBAC, "kind": "Group", "name": "system:serviceaccounts"},
        {"apiGroup": RBAC, "kind": "Group", "name": "system:authenticated"},
    ],
    ids=["account", "user", "accounts of a namespace", "all accounts", "everyone"],
)
async def test_a_role_binding_lets_pass_until_it_is_gone(
    isolated: Isolated, subject: Object
) -> None:
    stranger = isolated.token("theirs", "stranger")
    assert (await isolated.ask(stranger)).status_code == 403
    await isolated.client.create(ROLE, meta.new(ROLE, "caller", "ours", rules=[make_rule()]))
    binding = make_binding("Role", "caller", subject, "ours")

    await isolated.client.create(ROLE_BINDING, binding)
    await isolated.until(stranger, 200)
    await isolated.client.delete(ROLE_BINDING, "callers", "ours")
    await isolated.until(stranger, 403)


async def test_subjects_that_nobody_is_let_nobody_pass_and_stop_nothing(
    isolated: Isolated,
) -> None:
    names = ("", "*", "ann@example.com", 'a"\n\u00fc', "x" * 10_000, "system:serviceaccounts:")
    role = meta.new(CLUSTER_ROLE, "caller", rules=[make_rule()])
    await isolated.client.create(CLUSTER_ROLE, role)
    binding = make_binding("ClusterRole", "caller", STRANGER, "ours")
    binding["subjects"] = [
        {"apiGroup": RBAC, "kind": kind, "name": name}
        for kind in ("User", "Group")
        for name in names
    ]
    await isolated.client.create(ROLE_BINDING, binding)
    await isolated.serve("later")

    assert (await isolated.ask(ADMIN, "/serving/ours/later")).text == "later"
    stranger = isolated.token("theirs", "stranger")
    for path in ("/serving/ours/iris", "/serving/ours/later"):
        assert (await isolated.ask(stranger, path)).status_code == 403


async def test_the_roles_rules_count_as_they_are_now(isolated: Isolated) -> None:
    stranger = isolated.token("theirs", "stranger")
    role = meta.new(CLUSTER_ROLE, "caller", rules=[make_rule(verb="list")])
    stored = await isolated.client.create(CLUSTER_ROLE, role)
    await isolated.client.create(
        ROLE_BINDING, make_binding("ClusterRole", "caller", STRANGER, "ours")
    )
    assert (await isolated.ask(stranger)).status_code == 403

    stored = await isolated.client.update(CLUSTER_ROLE, {**stored, "rules": [make_rule()]})
    await isolated.until(stranger, 200)
    await isolated.client.update(CLUSTER_ROLE, {**stored, "rules": []})
    await isolated.until(stranger, 403)


async def test_a_cluster_role_binding_holds_in_every_namespace(isolated: Isolated) -> None:
    stranger = isolated.token("theirs", "stranger")
    assert (await isolated.ask(stranger)).status_code == 403
    await isolated.client.create(
        CLUSTER_ROLE, meta.new(CLUSTER_ROLE, "caller", rules=[make_rule()])
    )
    await isolated.client.create(
        CLUSTER_ROLE_BINDING, make_binding("ClusterRole", "caller", STRANGER)
    )
    await isolated.until(stranger, 200)


async def test_a_binding_of_another_namespace_gives_nothing(isolated: Isolated) -> None:
    stranger = isolated.token("theirs", "stranger")
    await isolated.client.create(
        CLUSTER_ROLE, meta.new(CLUSTER_ROLE, "caller", rules=[make_rule()])
    )
    await isolated.client.create(
        ROLE_BINDING, make_binding("ClusterRole", "caller", STRANGER, "theirs")
    )
    # What comes later is followed, so what came before is too.
    await isolated.serve("later")

    assert (await isolated.ask(stranger)).status_code == 403
    assert (await isolated.ask(stranger, "/serving/ours/later")).status_code == 403


async def test_resource_names_are_names_of_inference_services(isolated: Isolated) -> None:
    stranger = isolated.token("theirs", "stranger")
    await isolated.serve("digits")
    await isolated.world.set_route("plain", make_route_spec("/plain", {"iris": 1}), "ours")
    await isolated.client.create(
        ROLE, meta.new(ROLE, "caller", "ours", rules=[make_rule("digits")])
    )
    await isolated.client.create(ROLE_BINDING, make_binding("Role", "caller", STRANGER, "ours"))

    await isolated.until(stranger, 200, "/serving/ours/digits")
    assert (await isolated.ask(stranger, "/v2", Host="digits-ours.localhost")).text == "digits"
    assert (await isolated.ask(stranger, "/serving/ours/iris")).status_code == 403
    assert (await isolated.ask(stranger, "/v2", Host="iris-ours.localhost")).status_code == 403
    # A route that is no InferenceService's has no such name.
    await isolated.world.until_programmed("plain", "ours")
    assert (await isolated.ask(stranger, "/plain")).status_code == 403
    assert (await isolated.ask(isolated.token("ours", "owner"), "/plain")).text == "iris"


async def test_a_model_that_is_not_ready_says_so_only_to_those_who_may_ask(
    isolated: Isolated,
) -> None:
    await isolated.world.add_backend("cold", "ours")
    await isolated.world.set_route("cold", make_route_spec("/cold", {"cold": 0}), "ours")
    await isolated.world.until_programmed("cold", "ours")

    assert (await isolated.ask(isolated.token("ours", "owner"), "/cold")).status_code == 503
    assert (await isolated.ask(isolated.token("theirs", "stranger"), "/cold")).status_code == 403


async def test_the_admin_token_is_in_the_secret_alone(isolated: Isolated) -> None:
    written = [file.read_text() for file in isolated.world.xds.glob("*.json")]

    assert len(written) == 3
    assert not any(ADMIN in text for text in written)


async def test_routes_without_a_guard_are_the_admins(isolated: Isolated) -> None:
    # As files are that an earlier version wrote, until the controller has written them anew.
    files = {file.name: file.read_text() for file in isolated.world.xds.glob("*.json")}
    routes = json.loads(files["rds.json"])
    for host in routes["resources"][0]["virtual_hosts"]:
        for entry in host["routes"]:
            entry.pop("typed_per_filter_config", None)
    files["rds.json"] = json.dumps(routes)
    gateway_world.swap(isolated.world.xds, files, "unguarded")

    await isolated.until(isolated.token("ours", "owner"), 403)
    assert (await isolated.ask(ADMIN)).text == "iris"

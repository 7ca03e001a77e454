"""Who asks, and may they: tokens, RBAC, what nobody can claim."""

import pytest

from apiserver_world import call

CORE = "/api/v1/namespaces/default"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


@pytest.mark.parametrize("token", ["", "wrong", "a.b.c", "x" * 5000])
async def test_no_request_without_a_token_of_ours(world, token):
    reply = await world.ask("GET", f"{CORE}/pods", token=token)

    assert (reply.status, reply.json["reason"]) == (401, "Unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version"])
async def test_probes_need_no_token(world, path):
    assert (await world.ask("GET", path, token="")).status == 200


async def test_an_account_may_only_what_its_role_says(world):
    token = await world.account("bob", [READ_PODS])

    listed = await world.ask("GET", f"{CORE}/pods", token=token)
    secrets = await world.ask("GET", f"{CORE}/secrets", token=token)
    elsewhere = await world.ask("GET", "/api/v1/namespaces/other/pods", token=token)
    everywhere = await world.ask("GET", "/api/v1/pods", token=token)

    assert listed.status == 200
    assert secrets.status == elsewhere.status == everywhere.status == 403
    assert secrets.message == (
        'secrets is forbidden: User "system:serviceaccount:default:bob" cannot list resource '
        '"secrets" in API group "" in the namespace "default"'
    )
    assert everywhere.message.endswith("at the cluster scope")


async def test_rights_end_with_their_binding(world):
    token = await world.account("bob", [READ_PODS])
    assert (await world.ask("GET", f"{CORE}/pods", token=token)).status == 200

    await world.ask("DELETE", f"{ROLES}/rolebindings/bob")

    assert (await world.ask("GET", f"{CORE}/pods", token=token)).status == 403


async def test_rights_follow_their_role_and_end_with_it(world):
    token = await world.account("bob", [READ_PODS])

    async def may_list():
        return (await world.ask("GET", f"{CORE}/pods", token=token)).status == 200

    assert await may_list()
    merge = {"content-type": "application/merge-patch+json"}
    await world.ask("PATCH", f"{ROLES}/roles/bob", {"rules": []}, headers=merge)
    assert not await may_list()
    await world.ask("PATCH", f"{ROLES}/roles/bob", {"rules": [READ_PODS]}, headers=merge)
    assert await may_list()
    await world.ask("DELETE", f"{ROLES}/roles/bob")
    assert not await may_list()
    role = {"metadata": {"name": "bob"}, "rules": [READ_PODS]}
    await world.ask("POST", f"{ROLES}/roles", role)
    assert await may_list()  # the binding has stood all the time


async def test_a_refusal_names_the_path_or_the_subresource(world):
    token = await world.account("bob")

    log = await world.ask("GET", f"{CORE}/pods/x/log", token=token)
    path = await world.ask("GET", "/metrics", token=token)

    bob = 'User "system:serviceaccount:default:bob" cannot get'
    assert (log.status, path.status) == (403, 403)
    assert f'{bob} resource "pods/log" in API group "" in the namespace' in log.message
    assert path.message.endswith(f'{bob} path "/metrics"')


async def test_resource_names_and_subresources_are_told_apart(world):
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]
    token = await world.account("bob", rules)

    allowed = await world.ask("GET", f"{CORE}/configmaps/a", token=token)
    other = await world.ask("GET", f"{CORE}/configmaps/b", token=token)
    log = await world.ask("GET", f"{CORE}/pods/x/log", token=token)

    assert (allowed.status, other.status, log.status) == (404, 403, 403)


async def test_nobody_gives_rights_that_he_lacks(world):
    manage = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]}
    token = await world.account("bob", [READ_PODS, {**manage, "verbs": ["create", "patch"]}])
    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}

    same = await world.ask(
        "POST", f"{ROLES}/roles", {"metadata": {"name": "r"}, "rules": [READ_PODS]}, token=token
    )
    more = await world.ask(
        "POST", f"{ROLES}/roles", {"metadata": {"name": "s"}, "rules": [secrets]}, token=token
    )
    patched = await world.ask(
        "PATCH",
        f"{ROLES}/roles/r",
        {"rules": [secrets]},
        token=token,
        headers={"content-type": "application/merge-patch+json"},
    )

    assert (same.status, more.status, patched.status) == (201, 403, 403)
    assert "attempting to grant RBAC permissions not currently held" in more.message
    assert more.message.endswith('{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}')


async def test_nobody_becomes_somebody_by_saying_so(world):
    token = await world.account("bob")
    claims = {"impersonate-user": "bessemer:admin", "impersonate-group": "system:masters"}

    impersonated = await world.ask("GET", f"{CORE}/pods", token=token, headers=claims)
    claimed = await world.ask(
        "GET", f"{CORE}/pods", token=token, headers={"x-remote-group": "system:masters"}
    )

    assert (impersonated.status, claimed.status) == (403, 403)
    assert 'users "bessemer:admin" is forbidden' in impersonated.message


async def test_who_may_impersonate_has_the_other_s_rights_alone(world):
    await world.account("bob", [READ_PODS])
    bob = {"impersonate-user": "system:serviceaccount:default:bob"}

    pods = await world.ask("GET", f"{CORE}/pods", headers=bob)
    secrets = await world.ask("GET", f"{CORE}/secrets", headers=bob)

    assert (pods.status, secrets.status) == (200, 403)


@pytest.mark.parametrize("header", ["impersonate-uid", "impersonate-extra-scopes"])
async def test_what_is_not_impersonated_is_refused_by_name(world, header):
    headers = {"impersonate-user": "eve", header: "x"}

    reply = await world.ask("GET", f"{CORE}/pods", headers=headers)

    assert reply.status == 400
    assert header in reply.message


async def test_extra_routes_never_see_claimed_identities(tmp_path):
    seen = {}

    async def app(scope, receive, send):
        seen.update({name.decode(): value.decode() for name, value in scope["headers"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"kfp"})

    import apiserver_world  # noqa: PLC0415 - one test needs a world of its own

    async with apiserver_world.running(tmp_path, extra_routes={"/apis/v2beta1": app}) as world:
        headers = {"kubeflow-userid": "eve", "authorization": "Bearer t"}
        reply = await call(world.app, "GET", "/apis/v2beta1/runs", headers=headers)

    assert reply.body == b"kfp"
    assert seen == {"authorization": "Bearer t"}


async def test_a_pod_s_token_ends_with_the_pod(world):
    obj = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "m", "image": "i"}]}}
    pod = (await world.ask("POST", f"{CORE}/pods", obj)).json
    uid = pod["metadata"]["uid"]
    token = world.issuer.issue("default", "default", pod_name="p", pod_uid=uid)

    assert world.tokens.identify(token).name == "system:serviceaccount:default:default"
    await world.ask("DELETE", f"{CORE}/pods/p")

    assert world.tokens.identify(token) is None


async def test_a_pod_s_token_is_its_own_account_s(world):
    await world.account("bob")
    obj = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "m", "image": "i"}]}}
    await world.ask("POST", f"{CORE}/pods", obj)
    bound = {"spec": {"boundObjectRef": {"kind": "Pod", "name": "p"}}}

    own = await world.ask("POST", f"{CORE}/serviceaccounts/default/token", bound)
    other = await world.ask("POST", f"{CORE}/serviceaccounts/bob/token", bound)

    assert (own.status, other.status) == (201, 400)
    assert 'cannot bind token for serviceaccount "bob"' in other.message


async def test_a_token_ends_with_its_account_even_if_it_is_made_anew(world):
    token = await world.account("bob")
    await world.ask("DELETE", f"{CORE}/serviceaccounts/bob")
    await world.ask("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "bob"}})

    assert world.tokens.identify(token) is None


async def test_token_request_and_reviews(world):
    token = await world.account("bob", [READ_PODS])
    path = f"{CORE}/serviceaccounts/bob/token"
    issued = await world.ask("POST", path, {"spec": {"expirationSeconds": 600}})
    short = await world.ask("POST", path, {"spec": {"expirationSeconds": 5}})
    fresh = issued.json["status"]["token"]

    async def review(group, plural, spec, by):
        url = f"/apis/{group}/v1/{plural}"
        return (await world.ask("POST", url, {"spec": spec}, token=by)).json["status"]

    pods = {"verb": "list", "resource": "pods", "namespace": "default"}
    authorization, authentication = "authorization.k8s.io", "authentication.k8s.io"
    may = await review(
        authorization, "selfsubjectaccessreviews", {"resourceAttributes": pods}, fresh
    )
    other = {"resourceAttributes": {**pods, "verb": "delete"}}
    may_not = await review(authorization, "selfsubjectaccessreviews", other, fresh)
    self_ = await review(authentication, "selfsubjectreviews", {}, token)
    known = await review(authentication, "tokenreviews", {"token": token}, None)
    unknown = await review(authentication, "tokenreviews", {"token": "x"}, None)

    assert issued.status == 201
    assert short.status == 422
    assert (may["allowed"], may_not["allowed"]) == (True, False)
    assert self_["userInfo"]["username"] == "system:serviceaccount:default:bob"
    assert (known["authenticated"], unknown["authenticated"]) == (True, False)

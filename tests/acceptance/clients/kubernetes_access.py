"""Scenarios of who may do what: tokens, service accounts, roles, and what is told of a refusal."""

import base64
import json
from pathlib import Path

from kubernetes import client
from kubernetes_scenarios import core, make_pod, play, rbac, refused, until_pod


def as_bearer(token):
    """The core API as the bearer of that token (none: as nobody) has it."""
    mine = client.Configuration.get_default_copy()
    mine.api_key = {"authorization": f"Bearer {token}"} if token else {}
    mine.refresh_api_key_hook = None
    return client.ApiClient(mine)


def token_of(namespace, account, **spec):
    """A token that the API server issues for a service account."""
    made = core.create_namespaced_service_account_token(account, namespace, {"spec": spec})
    return made.status.token


def claims_of(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def account(namespace, name):
    core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
    return client.CoreV1Api(as_bearer(token_of(namespace, name)))


def grant(namespace, name, **rule):
    """A Role of one rule, bound to the service account of the same name."""
    body = {"metadata": {"name": name}, "rules": [{"apiGroups": [""], **rule}]}
    rbac.create_namespaced_role(namespace, body)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    rbac.create_namespaced_role_binding(namespace, binding)


def strangers(namespace):
    """Without a known token there is no answer, whatever is asked."""
    told = {}
    for name, token in (("none", ""), ("unknown", "not-a-token"), ("forged", forged(namespace))):
        stranger = client.CoreV1Api(as_bearer(token))
        told[name] = [
            refused(stranger.list_namespaced_pod, namespace),
            refused(stranger.create_namespaced_config_map, namespace, {"metadata": {"name": "x"}}),
        ]
    return told


def forged(namespace):
    """A good token whose claims were changed."""
    head, body, signature = token_of(namespace, "default").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = "system:serviceaccount:kube-system:default"
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def rightless(namespace):
    """What a service account without any binding is told."""
    nobody = account(namespace, "nobody")
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "busybox"}]}}
    return {
        "list": refused(nobody.list_namespaced_pod, namespace),
        "create": refused(nobody.create_namespaced_pod, namespace, pod),
        "get": refused(nobody.read_namespaced_secret, "s", namespace),
        "log": refused(nobody.read_namespaced_pod_log, "x", namespace),
        "cluster": refused(nobody.list_node),
        "all": refused(nobody.list_secret_for_all_namespaces),
    }


def roles(namespace):
    """A Role with its binding opens exactly what it names, at once, until it is taken back."""
    reader = account(namespace, "reader")
    before = refused(reader.list_namespaced_config_map, namespace)["code"]
    grant(namespace, "reader", resources=["configmaps"], verbs=["get", "list"])
    body = {"metadata": {"name": "mine"}, "data": {"a": "1"}}
    core.create_namespaced_config_map(namespace, body)
    told = {
        "before": before,
        "get": reader.read_namespaced_config_map("mine", namespace).data,
        "list": len(reader.list_namespaced_config_map(namespace).items) > 0,
    }
    watching = {"watch": True, "timeout_seconds": 1}
    other = {"metadata": {"name": "x"}}
    for name, call in {
        "watch": lambda: reader.list_namespaced_config_map(namespace, **watching),
        "create": lambda: reader.create_namespaced_config_map(namespace, other),
        "delete": lambda: reader.delete_namespaced_config_map("mine", namespace),
        "secrets": lambda: reader.list_namespaced_secret(namespace),
        "elsewhere": lambda: reader.list_namespaced_config_map("default"),
        "everywhere": reader.list_config_map_for_all_namespaces,
    }.items():
        told[name] = refused(call)["code"]
    rbac.delete_namespaced_role_binding("reader", namespace)
    told["after"] = refused(reader.list_namespaced_config_map, namespace)["code"]
    return told


def resource_names(namespace):
    """A rule with names opens these objects alone, and no list or creation."""
    for name in ("open", "shut"):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
    keeper = account(namespace, "keeper")
    grant(
        namespace, "keeper", resources=["configmaps"], resourceNames=["open", "new"],
        verbs=["get", "patch", "list", "create"],
    )  # fmt: skip
    patch = {"data": {"a": "1"}}
    chosen = {"field_selector": "metadata.name=open"}
    found = keeper.list_namespaced_config_map(namespace, **chosen).items
    return {
        "open": keeper.patch_namespaced_config_map("open", namespace, patch).data,
        "shut": refused(keeper.patch_namespaced_config_map, "shut", namespace, patch)["code"],
        "get": refused(keeper.read_namespaced_config_map, "shut", namespace)["code"],
        "list": refused(keeper.list_namespaced_config_map, namespace)["code"],
        "list one": [one.metadata.name for one in found],
        "create": refused(
            keeper.create_namespaced_config_map, namespace, {"metadata": {"name": "new"}}
        )["code"],
    }


def escalation(namespace):
    """Who may write roles can't give away more than they hold."""
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "boss"}})
    body = {
        "metadata": {"name": "boss"},
        "rules": [
            {
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["roles"],
                "verbs": ["create"],
            },
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
        ],
    }
    rbac.create_namespaced_role(namespace, body)
    subject = {"kind": "ServiceAccount", "name": "boss", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "boss"}
    binding = {"metadata": {"name": "boss"}, "roleRef": reference, "subjects": [subject]}
    rbac.create_namespaced_role_binding(namespace, binding)
    api = client.RbacAuthorizationV1Api(as_bearer(token_of(namespace, "boss")))

    def role(name, resource, verb):
        rules = [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]
        return refused(
            api.create_namespaced_role, namespace, {"metadata": {"name": name}, "rules": rules}
        )

    return {"held": role("a", "configmaps", "get"), "more": role("b", "secrets", "get")}


def own_tokens(namespace):
    """A token says whose it is and until when; its account's and its pod's end is its own."""
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "she"}})
    token = token_of(namespace, "she", expirationSeconds=1200)
    claims = claims_of(token)
    mine = client.AuthenticationV1Api(as_bearer(token))
    review = {"spec": {}}
    who = mine.create_self_subject_review(review).status.user_info
    other = token_of(namespace, "she", audiences=["vault"])
    told = {
        "name": who.username == f"system:serviceaccount:{namespace}:she",
        "groups": sorted(group.replace(namespace, "NS") for group in who.groups),
        "seconds": claims["exp"] - claims["iat"],
        "audience": claims_of(other)["aud"],
        "for another audience": refused(
            client.AuthenticationV1Api(as_bearer(other)).create_self_subject_review, review
        )["code"],
        "too short": refused(
            core.create_namespaced_service_account_token,
            "she", namespace, {"spec": {"expirationSeconds": 5}},
        )["code"],
    }  # fmt: skip
    make_pod(namespace, "x", "sleep", "600", spec={"serviceAccountName": "she"})
    uid = until_pod(namespace, "x", lambda pod: pod.status.phase == "Running").metadata.uid
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": uid}
    of_pod = client.AuthenticationV1Api(
        as_bearer(token_of(namespace, "she", boundObjectRef=bound))
    )
    of_pod.create_self_subject_review(review)
    core.delete_namespaced_pod("x", namespace, grace_period_seconds=0)
    told["without its pod"] = refused(of_pod.create_self_subject_review, review)["code"]
    core.delete_namespaced_service_account("she", namespace)
    told["without its account"] = refused(mine.create_self_subject_review, review)["code"]
    return told


def sealed(namespace, value, home):
    """Where in the home a Secret's value stands in clear, while a pod that uses it runs."""
    body = {"metadata": {"name": "s"}, "stringData": {"word": value}}
    core.create_namespaced_secret(namespace, body)
    core.patch_namespaced_secret("s", namespace, {"stringData": {"again": value + value}})
    make_pod(
        namespace, "x", "sleep", "600",
        spec={"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )  # fmt: skip
    until_pod(namespace, "x", lambda pod: pod.status.phase == "Running")
    found = core.read_namespaced_secret("s", namespace).data
    # Three ways to begin, since what comes before it shifts base64's groups of three bytes.
    texts = [base64.b64encode(b"x" * shift + value.encode()) for shift in range(3)]
    needles = [value.encode(), *(text[4:-4] for text in texts)]
    files = [path for path in Path(home).rglob("*") if path.is_file()]
    clear = [path for path in files if any(needle in path.read_bytes() for needle in needles)]
    return {
        "read": {key: base64.b64decode(text).decode() for key, text in found.items()},
        "searched": any(path.name.startswith("objects.db") for path in files),
        "clear": [str(path.relative_to(home)) for path in clear],
    }


if __name__ == "__main__":
    play(
        {
            scenario.__name__: scenario
            for scenario in (
                strangers, rightless, roles, resource_names, escalation, own_tokens, sealed,
            )
        }
    )  # fmt: skip

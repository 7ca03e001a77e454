"""Whose requests a namespace's models answer."""

from hypothesis import given
from hypothesis import strategies as st

from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.gateway.access import Grants, find_model
from bessemer.kinds import meta
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.kind import Object
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.kube.access import Attributes, User
from bessemer.kube.client import EventType
from bessemer.kube.permissions import GROUP, USER, Subject

SHE = Subject(USER, "system:serviceaccount:b:she")


def make_role(name: str, namespace: str = "", **rule: list[str]) -> Object:
    whole = {
        "verbs": ["get"],
        "apiGroups": ["serving.kserve.io"],
        "resources": ["inferenceservices"],
        **rule,
    }
    return meta.new(ROLE if namespace else CLUSTER_ROLE, name, namespace, rules=[whole])


def make_binding(role: Object, namespace: str = "", *subjects: Object) -> Object:
    return meta.new(
        ROLE_BINDING if namespace else CLUSTER_ROLE_BINDING,
        f"to-{meta.name(role)}-of-{meta.namespace(role)}",
        namespace,
        roleRef={"kind": role["kind"], "name": meta.name(role)},
        subjects=list(subjects or ({"kind": "ServiceAccount", "name": "she", "namespace": "b"},)),
    )


def test_a_binding_holds_in_its_namespace_and_a_cluster_role_binding_everywhere() -> None:
    role = make_role("caller")

    bound_in_a = Grants([role], [make_binding(role, "a")])
    assert bound_in_a.find_subjects("a", "iris") == {SHE}
    assert bound_in_a.find_subjects("b", "iris") == frozenset()
    bound_everywhere = Grants([role], [make_binding(role)])
    assert bound_everywhere.find_subjects("a", "iris") == {SHE}


def test_a_role_of_another_namespace_or_of_no_namespace_gives_nothing() -> None:
    theirs = make_role("caller", "b")
    assert Grants([theirs], [make_binding(theirs, "a")]).find_subjects("a") == frozenset()
    gone = make_role("caller")
    assert Grants([], [make_binding(gone, "a")]).find_subjects("a") == frozenset()


def test_names_of_a_rule_are_names_of_models() -> None:
    role = make_role("caller", resourceNames=["iris"])
    grants = Grants([role], [make_binding(role, "a")])

    assert grants.find_subjects("a", "iris") == {SHE}
    assert grants.find_subjects("a", "digits") == frozenset()
    assert grants.find_subjects("a") == frozenset()


def test_only_an_inference_service_gives_a_route_a_models_name() -> None:
    isvc = {**meta.new(INFERENCE_SERVICE, "iris", "a")}
    isvc["metadata"]["uid"] = "1"
    web = {**meta.new(DEPLOYMENT, "web", "a")}
    web["metadata"]["uid"] = "2"

    def of(owners: list[Object]) -> str:
        return find_model(meta.new(HTTP_ROUTE, "r", "a", owners=owners))

    assert of([meta.owner_reference(isvc)]) == "iris"
    assert of([meta.owner_reference(isvc, controller=False)]) == ""
    assert of([meta.owner_reference(web)]) == ""
    assert of([{**meta.owner_reference(isvc), "apiVersion": "else.io/v1"}]) == ""
    assert find_model(meta.new(HTTP_ROUTE, "r", "a")) == ""


_SUBJECTS = st.sampled_from(
    [
        {"kind": "ServiceAccount", "name": "she", "namespace": "b"},
        {"kind": "ServiceAccount", "name": "he", "namespace": "a"},
        {"kind": "User", "name": "system:serviceaccount:b:she"},
        {"kind": "Group", "name": "system:serviceaccounts:b"},
        {"kind": "Group", "name": "system:authenticated"},
        {"kind": "Group", "name": "else"},
    ]
)
_ROLES = st.builds(
    lambda namespace, verb, group, resource, names: make_role(
        "caller", namespace, verbs=[verb], apiGroups=[group], resources=[resource],
        resourceNames=names,
    ),
    st.sampled_from(["", "a", "b"]), st.sampled_from(["get", "list", "*"]),
    st.sampled_from(["serving.kserve.io", "*", ""]),
    st.sampled_from(["inferenceservices", "*", "inferenceservices/status", "pods"]),
    st.lists(st.sampled_from(["iris", "digits"]), max_size=2),
)  # fmt: skip


@given(
    st.lists(st.tuples(_ROLES, st.sampled_from(["a", "b", ""]), _SUBJECTS), max_size=4),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["iris", "digits", ""]),
)
def test_the_gateway_and_the_api_server_decide_alike(
    given_ones: list[tuple[Object, str, Object]], namespace: str, model: str
) -> None:
    # One role and one binding of a name and place; the last given counts, as in a store.
    roles = {meta.namespace(role): role for role, _, _ in given_ones}
    bindings = {
        (place, meta.namespace(role)): make_binding(role, place, subject)
        for role, place, subject in given_ones
    }
    rbac = Rbac()
    for obj in (*roles.values(), *bindings.values()):
        rbac.observe(EventType.ADDED, obj)
    allowed = Grants(roles.values(), bindings.values()).find_subjects(namespace, model)

    asked = Attributes(
        "get", "serving.kserve.io", "inferenceservices", namespace=namespace, name=model
    )
    for home, account in (("b", "she"), ("b", "other"), ("a", "he")):
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{home}",
                  "system:authenticated")  # fmt: skip
        user = User(f"system:serviceaccount:{home}:{account}", groups)
        hers = {Subject(USER, user.name), *(Subject(GROUP, group) for group in groups)}
        assert bool(hers & allowed) == rbac.decide(user, asked).allowed

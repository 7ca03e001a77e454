"""Who may do what, by the official ``kubernetes`` client: tokens, roles, secrets at rest."""

import uuid

import pytest

import harness
from kubernetes_session import Session

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("kubernetes-access"),
]


def test_without_a_known_token_there_is_no_answer(session: Session) -> None:
    told = session.play("strangers")

    assert set(told) == {"none", "unknown", "forged"}
    for answers in told.values():
        for answer in answers:
            assert (answer["code"], answer["reason"]) == (401, "Unauthorized")
            assert answer["message"] == "Unauthorized"


def test_a_service_account_without_rights_is_told_what_it_lacks(session: Session) -> None:
    told = session.play("rightless")

    assert {(answer["code"], answer["reason"]) for answer in told.values()} == {(403, "Forbidden")}
    namespace = told["list"]["message"].split('"')[1].split(":")[2]
    user = f'User "system:serviceaccount:{namespace}:nobody" cannot'
    inside = f'in API group "" in the namespace "{namespace}"'
    assert {key: answer["message"] for key, answer in told.items()} == {
        "list": f'pods is forbidden: {user} list resource "pods" {inside}',
        "create": f'pods is forbidden: {user} create resource "pods" {inside}',
        "get": f'secrets "s" is forbidden: {user} get resource "secrets" {inside}',
        "log": f'pods "x" is forbidden: {user} get resource "pods/log" {inside}',
        "cluster": f'nodes is forbidden: {user} list resource "nodes" in API group "" '
        "at the cluster scope",
        "all": f'secrets is forbidden: {user} list resource "secrets" in API group "" '
        "at the cluster scope",
    }


def test_a_role_opens_exactly_what_it_names(session: Session) -> None:
    assert session.play("roles") == {
        "before": 403,
        "get": {"a": "1"},
        "list": True,
        "watch": 403,
        "create": 403,
        "delete": 403,
        "secrets": 403,
        "elsewhere": 403,
        "everywhere": 403,
        "after": 403,
    }


def test_resource_names_open_these_alone(session: Session) -> None:
    assert session.play("resource_names") == {
        "open": {"a": "1"},
        "shut": 403,
        "get": 403,
        "list": 403,
        "list one": ["open"],
        "create": 403,  # a creation has no name yet when it is decided
    }


def test_nobody_gives_away_more_than_they_hold(session: Session) -> None:
    told = session.play("escalation")

    assert told["held"] is None
    assert told["more"]["code"] == 403
    assert "attempting to grant RBAC permissions not currently held" in told["more"]["message"]


def test_a_token_is_its_accounts_and_its_pods(session: Session) -> None:
    assert session.play("own_tokens") == {
        "name": True,
        "groups": ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:NS"],
        "seconds": 1200,
        "audience": ["vault"],
        "for another audience": 401,
        "too short": 422,
        "without its pod": 401,
        "without its account": 401,
    }


def test_what_opens_everything_is_its_owners_alone(bessemer: harness.Running) -> None:
    private = [bessemer.kubeconfig, *(bessemer.home / "keys").glob("*")]

    modes = {
        path.name: oct(path.stat().st_mode & 0o777) for path in private if path != bessemer.ca
    }

    assert modes["kubeconfig"] == "0o600"
    assert modes["admin.token"] == "0o600"
    assert {name: mode for name, mode in modes.items() if not name.endswith((".crt", ".pub"))} == {
        name: "0o600" for name in modes if not name.endswith((".crt", ".pub"))
    }


def test_a_secret_is_nowhere_in_the_homes_files(
    bessemer: harness.Running, session: Session
) -> None:
    value = f"a secret of {uuid.uuid4()}, nowhere else"

    told = session.play("sealed", value=value, home=str(bessemer.home))

    assert told == {
        "read": {"word": value, "again": value + value},
        "searched": True,
        "clear": [],
    }

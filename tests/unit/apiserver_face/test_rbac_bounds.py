"""What RBAC remembers and compares is bounded, whatever it is asked."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.kube.access import Attributes, User
from bessemer.kube.client import EventType
from bessemer.kube.errors import BadRequest

USER = User("u")


class Text(str):
    """A text of which is known whether it is still there."""


def bind(rbac: Rbac, number: int, role: str) -> None:
    rbac.observe(
        EventType.ADDED,
        {
            "kind": "RoleBinding",
            "metadata": {"name": f"b{number}", "namespace": "n"},
            "roleRef": {"kind": "Role", "name": role},
            "subjects": [{"kind": "User", "name": "u"}],
        },
    )


def give(rbac: Rbac, role: str, rules: list[Any]) -> None:
    metadata = {"name": role, "namespace": "n"}
    rbac.observe(EventType.ADDED, {"kind": "Role", "metadata": metadata, "rules": rules})


@pytest.mark.parametrize(("length", "is_kept"), [(100, True), (2000, False)])
def test_long_questions_are_not_remembered(length: int, *, is_kept: bool) -> None:
    rbac, verb = Rbac(), Text("v" * length)
    known = weakref.ref(verb)

    rbac.decide(USER, Attributes(verb))
    del verb
    gc.collect()

    assert (known() is not None) is is_kept


def test_a_role_that_many_bindings_give_is_looked_at_once() -> None:
    rbac = Rbac()
    give(rbac, "r", [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}])
    for number in range(100):
        bind(rbac, number, "r")

    assert len(list(rbac.rules_for(USER, "n"))) == 1


def test_permissions_without_number_are_not_compared() -> None:
    words = [f"w{number}" for number in range(1000)]
    rule = {"verbs": words, "apiGroups": words, "resources": words}
    rbac = Rbac()

    with pytest.raises(BadRequest, match="may be 1000000, but are 1000000000"):
        rbac.missing(USER, "n", [rule])
    assert rbac.missing(USER, "n", [{**rule, "apiGroups": ["a"], "resources": ["b"]}])

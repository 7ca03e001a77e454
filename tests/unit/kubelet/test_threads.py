"""Threads of numerical libraries, by the share of the cores."""

from __future__ import annotations

import pytest

from bessemer.cluster.kubelet.pods.threads import VARIABLES, Threads


def count(threads: Threads, uid: str, **resources: object) -> int:
    found = threads.variables(uid, {"resources": resources})
    assert set(found) == set(VARIABLES)
    (number,) = set(found.values())
    return int(number)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"limits": {"cpu": "2"}}, 2),
        ({"limits": {"cpu": "1500m"}}, 2),
        ({"limits": {"cpu": "100m"}}, 1),
        ({"limits": {"cpu": "64"}}, 8),
        ({"requests": {"cpu": "3"}}, 3),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}, 4),
        ({"limits": {"memory": "1Gi"}}, 8),
    ],
)
def test_the_declared_share_counts(resources: dict[str, object], expected: int) -> None:
    assert count(Threads({"cpu": "8"}), "a", **resources) == expected


def test_those_who_declare_nothing_share_the_machine() -> None:
    threads = Threads({"cpu": "8"})
    assert [count(threads, uid) for uid in ("a", "b", "c", "a")] == [8, 4, 2, 2]
    for uid in ("a", "b"):
        threads.leave(uid)
    assert count(threads, "d") == 4
    assert [count(threads, str(number)) for number in range(30)][-1] == 1
    assert count(threads, "e", limits={"cpu": "2"}) == 2

"""What the adversary starts from: rights in one namespace and nowhere else."""

from __future__ import annotations

import pytest

from adversary_world import World, pods

pytestmark = pytest.mark.timeout(180)


def test_the_adversary_edits_one_namespace_alone(world: World) -> None:
    assert world.ask("GET", pods("a"))[0] == 200
    assert world.ask("GET", pods("b"))[0] == 403
    assert world.ask("GET", "/api/v1/nodes")[0] == 403


def test_a_pod_runs_as_who_runs_bessemer_and_without_capabilities(world: World, kind: str) -> None:
    script = (
        "import os; print(os.getuid(), open('/proc/self/status').read().split('CapEff:')[1][:17])"
    )

    phase, log = world.run("rights", script)

    assert phase == "Succeeded"
    uid, capabilities = log.split()
    assert int(capabilities, 16) == 0
    assert (int(uid) == 0) == (kind == "root")

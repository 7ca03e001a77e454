"""One Bessemer a kind of person for the whole suite; who breaks it opens a world of his own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from adversary_world import World, open_world, person

KINDS = [
    pytest.param(kind, marks=pytest.mark.xdist_group(f"adversary-{kind}"))
    for kind in ("root", "user")
]


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Who runs Bessemer: "root" or "user"."""
    chosen: str = request.param
    if chosen == "root" and os.getuid() != 0:
        pytest.skip("runs Bessemer as root, which this user may not")
    probe = [*person(chosen), "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("running Bessemer as an ordinary user needs user and mount namespaces")
    return chosen


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Iterator[World]:
    """Shared: tests keep apart by the names of what they make."""
    with open_world(tmp_path_factory.mktemp(f"adv-{kind}"), kind) as opened:
        if not opened.bessemer.is_sandboxed:
            pytest.skip("this machine gives pods no namespaces, and says so: there are no walls")
        yield opened

"""What the files of acceptance tests share: a Bessemer for a whole file, and who asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import harness
from kubernetes_session import Session, open_session


@pytest.fixture(scope="module")
def bessemer(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[harness.Running]:
    """One for all tests of the file: they keep apart by names and namespaces of their own."""
    name = request.path.stem[-16:]  # the path of a socket has room for 107 characters
    with harness.bessemer(tmp_path_factory.mktemp(name)) as running:
        yield running


@pytest.fixture(scope="module")
def sandboxed(bessemer: harness.Running) -> None:
    """For tests of volumes, processes and rights in pods, which need namespaces."""
    if not bessemer.is_sandboxed:
        pytest.skip("this machine gives pods no namespaces: volumes are elsewhere, as is said")


@pytest.fixture(scope="module")
def session(bessemer: harness.Running, request: pytest.FixtureRequest) -> Iterator[Session]:
    """The official client playing the file's scenarios: ``kubernetes_x.py`` of ``clients``."""
    name = request.path.name.removeprefix("test_").replace("_client_", "_")
    with open_session(bessemer, name) as opened:
        yield opened

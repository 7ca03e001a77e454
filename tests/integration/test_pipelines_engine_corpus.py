"""Upstream's compiled pipelines through the real engine, node agent and environments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bessemer.pipelines.records import RunState
from bessemer.pipelines.spec import load
from node_cluster import open_cluster
from pipelines_cluster import Pipelines, open_pipelines

FOLDER = Path(__file__).parents[3] / "shared" / "corpus" / "kfp"
INDEX = FOLDER / "INDEX.tsv"
ROWS = [line.split("\t") for line in INDEX.read_text().splitlines()[1:]] if INDEX.exists() else []
LOCAL = [row[1] for row in ROWS if row[0] in ("LOCAL", "LOCAL*")]
# Why a file of that class can't succeed on this machine, or must not.
ELSEWHERE = {
    "essential__embedded_artifact.yaml": "pins kfp 2.14.3, which lacks dsl.EmbeddedInput",
    "local_execution__local_execution_pipeline_with_k8s_only_methods.yaml": "asks for a GPU",
    "local_execution__local_execution_pipeline_with_retry.yaml": "counts in a file that its "
    "attempts must share, and pods don't share /tmp",
    "critical__parameters_simple.yaml": "needs the image jetbrainsinfra/jq",
    "pipeline_with_task_using_ignore_upstream_failure.yaml": "a failed task fails the run",
}
VALUES = {
    "STRING": "text",
    "NUMBER_INTEGER": 1,
    "NUMBER_DOUBLE": 1.5,
    "BOOLEAN": True,
    "LIST": ["a"],
    "STRUCT": {"a": 1},
}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not ROWS, reason="the shared corpus is not beside the checkout"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all: building environments takes longest."""
    return tmp_path_factory.mktemp("corpus") / "home"


@pytest.fixture
async def it(home: Path) -> AsyncIterator[Pipelines]:
    async with open_cluster(home) as cluster, open_pipelines(cluster, stuck_seconds=60) as opened:
        yield opened


@pytest.mark.parametrize("name", LOCAL)
async def test_it_succeeds(it: Pipelines, name: str) -> None:
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    text = (FOLDER / name).read_text()
    declared = load(text).root.parameters
    arguments = {key: VALUES[d.type.value] for key, d in declared.items() if not d.optional}
    run = await it.run(text, arguments, seconds=200)

    assert run.state is RunState.SUCCEEDED, run.error

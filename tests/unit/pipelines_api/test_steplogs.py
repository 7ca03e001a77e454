from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.logs import DiskLogs
from bessemer.kube.client import WHOLE_LOG, LogOptions
from bessemer.kube.errors import NotFound as ObjectNotFound
from bessemer.pipelines.records import Run, RunState, Task, TaskKind, TaskState
from bessemer.pipelines.steplogs import PodStepLogs
from bessemer.web import errors

from .test_listing import NOW

RUN = Run("r1", "kubeflow", "run", {}, {}, {}, RunState.RUNNING, NOW)
TASK = Task("t1", "r1", "", "train", -1, TaskKind.CONTAINER, TaskState.RUNNING, pod_name="train-x")


class Pods:
    """The two verbs that logs ask of a Kubernetes API."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    async def get(self, kind: object, name: str, namespace: str = "") -> dict[str, Any]:
        if name not in self.names or namespace != "kubeflow":
            raise ObjectNotFound(f'pods "{name}" not found')
        return {"metadata": {"name": name, "namespace": namespace}}

    async def logs(
        self, name: str, namespace: str, options: LogOptions = WHOLE_LOG
    ) -> AsyncIterator[bytes]:
        yield b"one\n"
        yield f"two {name} {options.follow} {options.tail_lines}\n".encode()


def make_logs(folder: Path, pods: Pods) -> PodStepLogs:
    return PodStepLogs(pods, DiskLogs(folder))  # type: ignore[arg-type]  # these two alone


async def text_of(logs: PodStepLogs, **options: Any) -> str:
    return b"".join([piece async for piece in logs.read(RUN, TASK, **options)]).decode()


async def test_a_pods_log_comes_from_the_pod(tmp_path: Path) -> None:
    logs = make_logs(tmp_path, Pods("train-x"))

    assert await text_of(logs, follow=True, tail_lines=3) == "one\ntwo train-x True 3\n"


async def test_a_gone_pods_log_is_the_copy_kept(tmp_path: Path) -> None:
    pods = Pods("train-x")
    logs = make_logs(tmp_path, pods)
    await logs.keep(RUN, TASK)
    await logs.keep(RUN, TASK)
    pods.names.clear()
    await logs.keep(RUN, TASK)

    assert await text_of(logs) == "one\ntwo train-x False None\n"
    assert await text_of(logs, tail_lines=1) == "two train-x False None\n"
    assert await text_of(logs, tail_lines=0) == ""

    await logs.forget("r1")
    with pytest.raises(errors.NotFound, match="no copy of a log"):
        await text_of(logs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one",
        "\n",
        "one\n\nthree\n",
        "one\nno end",
        "".join(f"{number} {'x' * (number % 997)}\n" for number in range(1000)),
        "x" * 200_000 + "\nlast\n",
    ],
    ids=len,
)
async def test_the_last_lines_of_a_kept_log_are_those_of_the_whole(
    tmp_path: Path, text: str
) -> None:
    logs = make_logs(tmp_path, Pods())
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "train-x.log").write_text(text)
    lines = text.splitlines(keepends=True)

    assert await text_of(logs) == text
    for wanted in (0, 1, 2, 3, 500, 5000):
        expected = "".join(lines[-wanted:]) if wanted else ""
        assert await text_of(logs, tail_lines=wanted) == expected


async def test_a_step_that_never_started_has_no_log(tmp_path: Path) -> None:
    logs = make_logs(tmp_path, Pods())

    with pytest.raises(errors.NotFound, match="train-x"):
        await text_of(logs)

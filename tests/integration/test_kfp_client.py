"""The official kfp SDK, unmodified and in its own environment, against the REST face over http."""

import asyncio
import contextlib
import os
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvicorn

from bessemer.base.clock import SystemClock
from bessemer.database.database import Database
from bessemer.kube.access import ADMIN, Attributes, Decision, User
from bessemer.pipelines.api import build_api
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.records import Run, RunState, StateChange, Task
from bessemer.web import errors
from bessemer.web.guard import Guard

_ROOT = Path(__file__).parents[2]
_EXAMPLE = _ROOT / "examples" / "breast_cancer" / ".venv" / "bin" / "python"
# More Pythons with other versions of kfp, separated by colons.
_MORE = os.environ.get("BESSEMER_TEST_KFP_PYTHONS", "")
PYTHONS = [str(_EXAMPLE), *filter(None, _MORE.split(":"))]


class Access:
    """One token, which may all."""

    async def authenticate(self, token: str) -> User | None:
        return ADMIN if token == "sesame" else None

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(user == ADMIN)


class NoLogs:
    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        raise errors.NotFound(f"task {task.id} has no log")
        yield b""

    async def forget(self, run_id: str) -> None:
        """Nothing is kept."""


@dataclass
class Server:
    url: str
    history: SqlHistory


async def play_engine(history: SqlHistory, woken: "asyncio.Queue[str]") -> None:
    """Stands for the engine: ends each run at once, well or, when terminated, badly."""
    clock = SystemClock()
    while True:
        run_id = await woken.get()
        found = await history.load_run(run_id)
        if found is None:
            continue
        run = found[0]
        if run.state is not RunState.CANCELING and run.display_name.startswith("slow"):
            continue
        canceled = run.state is RunState.CANCELING
        state = RunState.FAILED if canceled else RunState.SUCCEEDED
        now = clock.now()
        changes = (*run.history, StateChange(state, now))
        ended = replace(run, state=state, finished_at=now, history=changes)
        await history.save(ended, lease=run.lease)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    database = Database(f"sqlite:///{tmp_path}/history.db")
    await database.start()
    history, woken = SqlHistory(database), asyncio.Queue[str]()
    access = Access()
    app = build_api(database, Guard(access, access), SystemClock(), woken.put_nowait, NoLogs())
    listener = socket.create_server(("127.0.0.1", 0))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    engine = asyncio.create_task(play_engine(history, woken))
    serving = asyncio.create_task(uvicorn_server.serve([listener]))
    yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", history)
    uvicorn_server.should_exit = True
    await serving
    engine.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await engine
    await database.close()


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    if not Path(request.param).exists():
        pytest.skip(f"the kfp SDK's environment {request.param} is not there; run 'make install'")
    return str(request.param)


async def run_script(python: str, script: str, server: Server, folder: Path) -> str:
    """Run a user's script to its end; its output, with its exit code checked."""
    file = folder / "script.py"
    await asyncio.to_thread(file.write_text, PRELUDE + textwrap.dedent(script))
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KF_PIPELINES_ENDPOINT": server.url,
        "PYTHONWARNINGS": "ignore",
    }
    process = await asyncio.create_subprocess_exec(
        python,
        str(file),
        env=env,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    text = output.decode()
    sys.stdout.write(text)
    assert process.returncode == 0, text
    return text


PRELUDE = """
import kfp
from kfp import compiler, dsl
from kfp_server_api import ApiException

@dsl.component(base_image="python:3.11")
def add(a: int, b: int) -> int:
    return a + b

@dsl.pipeline(name="adder", description="adds")
def adder(a: int, b: int = 2):
    first = add(a=a, b=b)
    add(a=first.output, b=1)

def refuse(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == status, (error.status, error.body)
        return error.body
    raise AssertionError(f"{call} was not refused")

client = kfp.Client(existing_token="sesame")
"""


async def test_runs_from_functions_and_packages(
    server: Server, python: str, tmp_path: Path
) -> None:
    script = """
    assert client.get_kfp_healthz().multi_user is False
    made = client.create_run_from_pipeline_func(adder, arguments={"a": 3}, experiment_name="exp")
    done = made.wait_for_run_completion(timeout=30)
    assert done.state == "SUCCEEDED", done
    assert [change.state for change in done.state_history] == ["PENDING", "SUCCEEDED"]
    assert done.runtime_config.parameters == {"a": 3}
    assert done.pipeline_spec["pipelineInfo"]["name"] == "adder"

    compiler.Compiler().compile(adder, "adder.yaml")
    other = client.create_run_from_pipeline_package(
        "adder.yaml", arguments={"a": 1, "b": 5}, run_name="by file", enable_caching=False)
    done = client.wait_for_run_completion(other.run_id, timeout=30, sleep_duration=1)
    assert done.state == "SUCCEEDED", done
    assert done.display_name == "by file"
    assert client.get_experiment(experiment_name="Default").experiment_id == done.experiment_id

    body = refuse(400, client.create_run_from_pipeline_package, "adder.yaml", arguments={"a": "x"})
    assert "'a'" in body, body
    body = refuse(400, client.create_run_from_pipeline_package, "adder.yaml", arguments={})
    assert "parameter a" in body, body

    listed = client.list_runs(sort_by="created_at desc", page_size=1)
    assert listed.total_size == 2 and listed.runs[0].run_id == other.run_id
    following = client.list_runs(
        sort_by="created_at desc", page_size=1, page_token=listed.next_page_token)
    assert [run.run_id for run in following.runs] == [made.run_id]
    assert not following.next_page_token
    experiment = client.get_experiment(experiment_name="exp")
    assert client.list_runs(experiment_id=experiment.experiment_id).total_size == 1
    """
    await run_script(python, script, server, tmp_path)


async def test_a_terminated_run_ends_the_clients_wait(
    server: Server, python: str, tmp_path: Path
) -> None:
    script = """
    compiler.Compiler().compile(adder, "adder.yaml")
    made = client.create_run_from_pipeline_package(
        "adder.yaml", arguments={"a": 1}, run_name="slow one")
    client.terminate_run(made.run_id)
    done = client.wait_for_run_completion(made.run_id, timeout=30, sleep_duration=1)
    assert done.state == "FAILED", done
    refuse(400, client.terminate_run, made.run_id)

    client.archive_run(made.run_id)
    assert client.get_run(made.run_id).storage_state == "ARCHIVED"
    client.unarchive_run(made.run_id)
    assert client.get_run(made.run_id).storage_state == "AVAILABLE"
    client.delete_run(made.run_id)
    refuse(404, client.get_run, made.run_id)
    """
    await run_script(python, script, server, tmp_path)


async def test_pipelines_and_versions(server: Server, python: str, tmp_path: Path) -> None:
    script = """
    import json, tarfile, zipfile
    compiler.Compiler().compile(adder, "adder.yaml")
    with zipfile.ZipFile("adder.zip", "w") as archive:
        archive.write("adder.yaml")
    with tarfile.open("adder.tar.gz", "w:gz") as archive:
        archive.add("adder.yaml")

    pipeline = client.upload_pipeline("adder.yaml", pipeline_name="adder", description="d")
    assert pipeline.display_name == "adder" and pipeline.description == "d"
    refuse(409, client.upload_pipeline, "adder.yaml", pipeline_name="adder")
    second = client.upload_pipeline_version(
        "adder.zip", pipeline_version_name="zipped", pipeline_name="adder")
    third = client.upload_pipeline_version(
        "adder.tar.gz", pipeline_version_name="tarred", pipeline_id=pipeline.pipeline_id)
    assert client.get_pipeline_id("adder") == pipeline.pipeline_id
    assert client.get_pipeline_id("none") is None

    listed = client.list_pipeline_versions(pipeline.pipeline_id, sort_by="created_at desc")
    names = [version.display_name for version in listed.pipeline_versions]
    assert names == ["tarred", "zipped", "adder"], names
    version = client.get_pipeline_version(pipeline.pipeline_id, third.pipeline_version_id)
    assert version.pipeline_spec["pipelineInfo"]["name"] == "adder"

    experiment = client.create_experiment("exp", description="d")
    assert client.create_experiment("exp").experiment_id == experiment.experiment_id
    run = client.run_pipeline(
        experiment.experiment_id, "job", params={"a": 1},
        pipeline_id=pipeline.pipeline_id, version_id=second.pipeline_version_id)
    reference = client.get_run(run.run_id).pipeline_version_reference
    assert reference.pipeline_version_id == second.pipeline_version_id

    query = json.dumps({"predicates": [
        {"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": "ADD"}]})
    assert client.list_pipelines(filter=query).total_size == 1
    assert client.list_pipelines(page_size=5, sort_by="name").pipelines[0].display_name == "adder"

    refuse(400, client.delete_pipeline, pipeline.pipeline_id)
    for version in listed.pipeline_versions:
        client.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(pipeline.pipeline_id)
    assert client.list_pipelines().pipelines is None

    client.archive_experiment(experiment.experiment_id)
    assert client.get_run(run.run_id).storage_state == "ARCHIVED"
    client.unarchive_experiment(experiment.experiment_id)
    client.delete_experiment(experiment.experiment_id)
    refuse(404, client.get_experiment, experiment_id=experiment.experiment_id)
    """
    await run_script(python, script, server, tmp_path)


async def test_the_newer_pipelines_client(server: Server, tmp_path: Path) -> None:
    """``PipelinesClient`` is in kfp from 2.17 on."""
    script = """
    import os
    from kfp.kubeflow_client import KubernetesBackendConfig, PipelinesClient

    newer = PipelinesClient(KubernetesBackendConfig(
        base_url=os.environ["KF_PIPELINES_ENDPOINT"], user_token="sesame"))
    first = newer.upload_pipeline(adder, name="one", version="first", description="d")
    assert first.display_name == "first" and first.description == "d"
    second = newer.upload_pipeline(adder, name="one", version="second")
    found = newer.get_pipeline_version("one", "first")
    assert found.pipeline_version_id == first.pipeline_version_id
    listed = newer.list_pipeline_versions("one").pipeline_versions
    assert [version.display_name for version in listed] == ["first", "second"]

    newest = newer.run("one", params={"a": 1})
    older = newer.run("one", params={"a": 1}, version="first")
    assert newest.pipeline_version_reference.pipeline_version_id == second.pipeline_version_id
    assert older.pipeline_version_reference.pipeline_version_id == first.pipeline_version_id
    newer.create_experiment("exp")
    inline = newer.run(adder, params={"a": 1}, name="inline", experiment="exp")
    done = newer.wait_for_run_status(inline, timeout=30, polling_interval=1)
    assert done.state == "SUCCEEDED", done
    assert newer.list_runs(experiment="exp", status="succeeded").total_size == 1

    newer.delete_pipeline("one", version="first")
    newer.delete_pipeline("one", force=True)
    assert newer.list_pipelines().pipelines is None
    assert newer.get_run(newest.run_id).display_name.startswith("one ")
    """
    if not _EXAMPLE.exists():
        pytest.skip(f"the kfp SDK's environment {_EXAMPLE} is not there; run 'make install'")
    await run_script(str(_EXAMPLE), script, server, tmp_path)


async def test_without_the_token_nothing_goes(server: Server, python: str, tmp_path: Path) -> None:
    script = """
    stranger = kfp.Client(existing_token="guess", namespace="x")
    refuse(401, stranger.list_runs)
    try:
        client.create_recurring_run("e", "j", cron_expression="* * * * * *",
                                    pipeline_id="p", version_id="v")
    except ApiException as error:
        assert error.status == 501, error
    """
    await run_script(python, script, server, tmp_path)

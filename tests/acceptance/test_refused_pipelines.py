"""What KFP must refuse: 400 with its error body and the reason, and nothing is stored."""

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness

CLIENT = Path(__file__).parent / "clients" / "refused.py"
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "kfp-invalid"
EXPECTED = {
    "empty_file.yaml",
    "empty_zip.zip",
    "invalid-zip.zip",
    "invalid_yaml.yaml",
    "no_name.yaml",
    "wrong_format.png",
}
INVALID_ARGUMENT = 3  # gRPC's code, which KFP's error body carries

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("refused-pipelines"),
]

SPEC: dict[str, Any] = {
    "components": {"comp-echo": {"executorLabel": "exec-echo"}},
    "deploymentSpec": {
        "executors": {"exec-echo": {"container": {"image": "busybox", "command": ["true"]}}}
    },
    "pipelineInfo": {"name": "echo"},
    "root": {
        "dag": {
            "tasks": {
                "first": {"componentRef": {"name": "comp-echo"}, "taskInfo": {"name": "first"}},
                "second": {
                    "componentRef": {"name": "comp-echo"},
                    "dependentTasks": ["first"],
                    "taskInfo": {"name": "second"},
                },
            }
        },
        "inputDefinitions": {
            "parameters": {
                "count": {"parameterType": "NUMBER_INTEGER"},
                "ratio": {"parameterType": "NUMBER_DOUBLE", "isOptional": True},
                "names": {"parameterType": "LIST", "isOptional": True},
            }
        },
    },
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
}


def unknown_version(spec: dict[str, Any]) -> None:
    spec["schemaVersion"] = "9.0.0"


def no_version(spec: dict[str, Any]) -> None:
    del spec["schemaVersion"]


def cycle(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["second"]


def itself(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["first"]


def unknown_component(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["second"]["componentRef"]["name"] = "comp-nowhere"


def unknown_executor(spec: dict[str, Any]) -> None:
    spec["components"]["comp-echo"]["executorLabel"] = "exec-nowhere"


def unknown_task(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["second"]["dependentTasks"] = ["nobody"]


def unknown_input(spec: dict[str, Any]) -> None:
    spec["components"]["comp-echo"]["inputDefinitions"] = {
        "parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}
    }
    tasks = spec["root"]["dag"]["tasks"]
    given = {"n": {"componentInputParameter": "no-such-input"}}
    for task in tasks.values():
        task["inputs"] = {"parameters": copy.deepcopy(given)}


def no_root(spec: dict[str, Any]) -> None:
    del spec["root"]


# What spoils the specification, and the words that the answer must have.
SPOILED: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (unknown_version, "9.0.0"),
    (no_version, "schemaVersion"),
    (cycle, "cycle"),
    (itself, "first"),
    (unknown_component, "comp-nowhere"),
    (unknown_executor, "exec-nowhere"),
    (unknown_task, "nobody"),
    (unknown_input, "no-such-input"),
    (no_root, "root"),
]


class Client:
    """One ``kfp.Client`` in its own process, and the Bessemer that it asks."""

    def __init__(self, bessemer: harness.Running, process: subprocess.Popen[str]) -> None:
        self._bessemer = bessemer
        self._process = process

    def is_refused(self, deed: str, file: Path, words: str = "") -> str:
        """400 in KFP's form, and neither a pipeline nor a run is there; the message."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([deed, str(file), words]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["status"] == 400, answer
        for what in ("pipelines", "runs"):
            listed = self._bessemer.get(f"/apis/v2beta1/{what}?namespace=kubeflow")
            assert not listed.get(what), listed
        return message_of(answer["body"])


def message_of(body: dict[str, Any]) -> str:
    """The message of an error, whose form is checked."""
    if "error_message" in body:  # how KFP's own upload handlers tell; the rest is by its gateway
        assert body.keys() == {"error_message", "error_details"}
        return str(body["error_message"])
    message = str(body["message"])
    status = {"code": INVALID_ARGUMENT, "message": message}
    of_type = {"@type": "type.googleapis.com/google.rpc.Status"}
    assert body == {**status, "details": [{**of_type, **status}]}
    return message


@pytest.fixture(scope="module")
def client(bessemer: harness.Running) -> Iterator[Client]:
    with subprocess.Popen(
        [harness.SDKS, CLIENT],
        env=bessemer.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Client(bessemer, process)


def written(folder: Path, spec: dict[str, Any]) -> Path:
    file = folder / "pipeline.yaml"
    file.write_text(json.dumps(spec))  # JSON is YAML
    return file


def test_the_corpus_of_refused_files_is_whole() -> None:
    if not CORPUS.exists():
        pytest.skip("the shared corpus is not beside the checkout")
    assert {file.name for file in CORPUS.iterdir()} == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_that_is_no_pipeline_is_refused(client: Client, name: str) -> None:
    if not CORPUS.exists():
        pytest.skip("the shared corpus is not beside the checkout")
    assert client.is_refused("upload", CORPUS / name, "bad")


@pytest.mark.parametrize(("spoil", "word"), SPOILED)
@pytest.mark.parametrize("deed", ["upload", "run"])
def test_a_specification_that_is_wrong_is_refused_with_the_reason(
    client: Client,
    tmp_path: Path,
    spoil: Callable[[dict[str, Any]], None],
    word: str,
    deed: str,
) -> None:
    spec = copy.deepcopy(SPEC)
    spoil(spec)

    assert word in client.is_refused(deed, written(tmp_path, spec), '{"count": 1}')


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "count"),
        ({"count": "three"}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": None}, "count"),
        ({"count": 1, "ratio": [1]}, "ratio"),
        ({"count": 1, "names": {"a": 1}}, "names"),
        ({"count": 1, "colour": "red"}, "colour"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    client: Client, tmp_path: Path, arguments: dict[str, Any], name: str
) -> None:
    assert name in client.is_refused("run", written(tmp_path, SPEC), json.dumps(arguments))


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00name: x", b"[" * 100_000, b"a: &a [*a, *a]\nb: *a"]
)
def test_what_is_no_text_or_folds_into_itself_is_refused(
    client: Client, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(data)

    assert client.is_refused("upload", file, "odd")

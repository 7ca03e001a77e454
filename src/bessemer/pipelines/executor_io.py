"""What a step is given and what it gives back: the executor's input and output. Pure.

Source: api/v2alpha1/pipeline_spec.proto ExecutorInput, ExecutorOutput; sdk kfp/dsl/executor.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bessemer.base.errors import BessemerError
from bessemer.pipelines import placeholders, types
from bessemer.pipelines.records import Artifact, Task, Values
from bessemer.pipelines.spec.model import ArtifactDef, Component, Container
from bessemer.pipelines.tree import artifact_id

OUTPUT_FILE = "executor_output.json"
PARAMETERS = ".parameter-"
#: Where an old SDK finds the machine's paths: ``/minio//artifacts/x`` is ``/artifacts/x``.
OLD_MOUNT = "/minio"
_OLD_URI = "minio://"
_OLD_SDK = re.compile(r"\bkfp==2\.[0-4](?!\d)")
_T = TypeVar("_T")


class InvalidOutput(BessemerError):
    """A step ended well, but what it wrote is not what its component declares."""


def output_file(task: Task) -> str:
    """Where a step writes its executor output; its folder is the task's root."""
    return f"{task.task_root}/{OUTPUT_FILE}"


def parameter_file(task: Task, name: str) -> str:
    """Where a step may write an output parameter as text."""
    return f"{task.task_root}/{PARAMETERS}{name}"


def is_old(component: Component) -> bool:
    """Whether a lightweight component runs by an SDK that knows no plain paths as URIs.

    Before kfp 2.5 its artifacts have a ``path`` only where the URI is of a store that it has
    mounted; ``minio://x`` is ``/minio/x``. So such a step gets its paths under that name.
    """
    body = component.body
    command = body.command if isinstance(body, Container) else ()
    script = command[2] if command[:2] == ("sh", "-c") and len(command) > 2 else ""
    return _OLD_SDK.search(script) is not None


def to_old(path: str) -> str:
    """A plain path as a URI for an old SDK; other URIs as they are."""
    return f"{_OLD_URI}{path}" if path.startswith("/") else path


def _from_old(uri: str) -> str:
    return uri.removeprefix(_OLD_URI) if uri.startswith(f"{_OLD_URI}/") else uri


def make_input(
    task: Task,
    component: Component,
    artifacts: Mapping[str, Artifact],
    path: Callable[[str], str] = str,
) -> dict[str, Any]:
    """The executor input, which ``{{$}}`` stands for.

    ``path`` is where in the pod the file of a URI is.
    """
    address = to_old if is_old(component) else str
    return {
        "inputs": {
            "parameterValues": {
                name: value for name, value in task.inputs.parameters.items() if value is not None
            },
            "artifacts": {
                name: {"artifacts": [_input_artifact(artifacts[one], address) for one in ids]}
                for name, ids in task.inputs.artifacts.items()
            },
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": path(parameter_file(task, name))}
                for name in component.output_parameters
            },
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": name,
                            "type": {"schemaTitle": d.type, "schemaVersion": d.version},
                            "uri": address(f"{task.task_root}/{name}"),
                            "metadata": {},
                        }
                    ]
                }
                for name, d in component.output_artifacts.items()
            },
            "outputFile": path(output_file(task)),
        },
    }


def _input_artifact(artifact: Artifact, address: Callable[[str], str]) -> dict[str, Any]:
    result = {
        "name": artifact.id,
        "type": {"schemaTitle": artifact.type, "schemaVersion": artifact.schema_version},
        "uri": address(artifact.uri),
        "metadata": dict(artifact.metadata),
    }
    if artifact.custom_path:
        result["customPath"] = artifact.custom_path
    return result


def make_lookup(
    executor_input: Mapping[str, Any],
    parameters: Mapping[str, Any],
    constant: placeholders.Lookup,
    path_of: Callable[[str], str] = str,
) -> placeholders.Lookup:
    """What the placeholders of a command line stand for.

    ``parameters`` are all inputs, those without a value (null) and those that only placeholders
    see among them; ``path_of`` is where in the pod the file of a URI is.
    """

    def lookup(path: str) -> Any:
        match placeholders.split(path):
            case []:
                return json.dumps(executor_input, ensure_ascii=False)
            case ["inputs", "parameters", name]:
                return parameters.get(name, placeholders.UNKNOWN)
            case ["outputs", "parameters", name, "output_file"]:
                found = executor_input["outputs"]["parameters"].get(name)
                return found["outputFile"] if found else placeholders.UNKNOWN
            case ["outputs", "output_file"]:
                return executor_input["outputs"]["outputFile"]
            case ["inputs" | "outputs" as side, "artifacts", name, *rest]:
                return _artifact_field(executor_input[side]["artifacts"].get(name), rest, path_of)
            case _:
                return constant(path)

    return lookup


def _artifact_field(
    found: Mapping[str, Any] | None, rest: Sequence[str], path_of: Callable[[str], str]
) -> Any:
    artifacts = found["artifacts"] if found else []
    if not artifacts:
        return None
    first = artifacts[0]
    match rest:
        case []:
            return artifacts
        case ["path"]:
            return first.get("customPath") or path_of(_from_old(first["uri"]))
        case ["metadata", key]:
            return first["metadata"].get(key)
        case [field]:
            return first.get(field, placeholders.UNKNOWN)
        case _:
            return placeholders.UNKNOWN


@dataclass(frozen=True)
class Written:
    """What a step left in its task root; None: no such file."""

    output: str | None
    parameters: Mapping[str, str | None]


def read_output(
    task: Task, component: Component, written: Written
) -> tuple[Values, list[Artifact]]:
    """A step's outputs; the executor output beats the parameters' files.

    Raises:
        InvalidOutput: what it wrote is no JSON or of another shape, or a declared parameter was
            not written, or is mistyped.
    """
    output = _parse_output(task, written.output)
    values = _part(output, "parameterValues", dict, "a JSON object")
    described = _part(output, "artifacts", dict, "a JSON object")
    parameters = {}
    for name, definition in component.output_parameters.items():
        try:
            parameters[name] = _parameter(name, definition.type, values, written)
        except types.MistypedValue as error:
            raise InvalidOutput(f"output {error}") from None
    artifacts: list[Artifact] = []
    ids: dict[str, list[str]] = {}
    for name, declared in component.output_artifacts.items():
        written_list = _part(described, name, dict, "a JSON object")
        entries = _part(written_list, "artifacts", list, "a list")
        if not entries and not (declared.is_list and written_list):
            entries = [{}]
        made = [
            _artifact(task, name, index, declared, entry) for index, entry in enumerate(entries)
        ]
        artifacts += made
        ids[name] = [artifact.id for artifact in made]
    return Values(parameters, ids), artifacts


def _part(whole: Mapping[str, Any], key: str, type_: type[_T], words: str) -> _T:
    """One part of the executor output, empty where it is absent or null."""
    part = whole.get(key)
    if part is None:
        return type_()
    if not isinstance(part, type_):
        raise InvalidOutput(
            f"{key!r} of the executor output must be {words}, but got {types.shorten(part)}"
        )
    return part


def _artifact(task: Task, name: str, index: int, declared: ArtifactDef, entry: Any) -> Artifact:
    if not isinstance(entry, dict):
        raise InvalidOutput(
            f"artifact {name!r} of the executor output must be a JSON object, but got "
            f"{types.shorten(entry)}"
        )
    return Artifact(
        id=artifact_id(task.id, task.attempt, name, index),
        name=name,
        type=declared.type,
        schema_version=declared.version,
        uri=_from_old(str(entry.get("uri") or f"{task.task_root}/{name}")),
        metadata=types.normalize(_part(entry, "metadata", dict, "a JSON object")),
        custom_path=str(entry.get("custom_path") or entry.get("customPath") or ""),
    )


def _parse_output(task: Task, text: str | None) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    try:
        output = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidOutput(f"{output_file(task)} must be JSON, but {error}") from None
    if fault := types.find_fault(output):
        where = _locate(output) or output_file(task)
        raise InvalidOutput(f"{where} must be JSON, but {fault}")
    if not isinstance(output, dict):
        raise InvalidOutput(
            f"{output_file(task)} must be a JSON object, but holds {types.shorten(output)}"
        )
    return output


def _locate(output: Any) -> str:
    """Which output it is that is no JSON, in the words of who wrote it; empty if none is."""
    if not isinstance(output, dict):
        return ""
    parameters, artifacts = output.get("parameterValues"), output.get("artifacts")
    for name, value in parameters.items() if isinstance(parameters, dict) else ():
        if types.find_fault(value):
            return f"output parameter {name!r}"
    for name, value in artifacts.items() if isinstance(artifacts, dict) else ():
        if types.find_fault(value):
            return f"{_locate_metadata(value)}output artifact {name!r}"
    return ""


def _locate_metadata(written: Any) -> str:
    entries = written.get("artifacts") if isinstance(written, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        metadata = entry.get("metadata") if isinstance(entry, dict) else None
        for key, value in metadata.items() if isinstance(metadata, dict) else ():
            if types.find_fault(value):
                return f"metadata {key!r} of "
    return ""


def _parameter(
    name: str, type_: types.ParameterType, values: Mapping[str, Any], written: Written
) -> Any:
    if values.get(name) is not None:
        return types.convert(name, types.normalize(values[name]), type_)
    text = written.parameters.get(name)
    if text is None:
        raise InvalidOutput(
            f"output parameter {name!r} was not written: a step must return it, or write its "
            f"text to {{{{$.outputs.parameters['{name}'].output_file}}}}"
        )
    return types.from_text(name, text, type_)

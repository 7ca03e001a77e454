"""The JSON forms of v2beta1: requests checked field by field, answers as protobuf writes them.

Rules (KFP apiserver's marshaller): names in snake_case, camelCase accepted; 64-bit numbers as
strings; unset fields left out; times in RFC 3339; an unknown field refuses the request. The
content of a ``pipeline_spec`` is passed on as it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bessemer.pipelines import spec_cache, tree
from bessemer.pipelines.catalog import Experiment, Pipeline, Version
from bessemer.pipelines.lineage import Provenance
from bessemer.pipelines.records import Run, StateChange, Task, TaskKind, TaskState, Values
from bessemer.web.errors import InvalidArgument

Json = dict[str, Any]

# Of google.rpc.Code.
_INTERNAL, _UNAVAILABLE = 13, 14
_UNENDED = ("PENDING", "RUNNING")

MAX_NAME = 128  # characters, as upstream's columns
MAX_DISPLAY_NAME = 256  # characters, as our columns; upstream sets no limit

# Field kinds of a message: a JSON type with its name for people, or a message of its own.
_TEXT, _STRUCT, _ANY, _TEXTS = "a string", "an object", "any value", "an object of strings"
Message = Mapping[str, Any]

PACKAGE_URL: Message = {"pipeline_url": _TEXT}
RUNTIME_CONFIG: Message = {"parameters": _STRUCT, "pipeline_root": _TEXT}
VERSION_REFERENCE: Message = {"pipeline_id": _TEXT, "pipeline_version_id": _TEXT}
EXPERIMENT: Message = {
    "experiment_id": _TEXT,
    "display_name": _TEXT,
    "description": _TEXT,
    "created_at": _TEXT,
    "namespace": _TEXT,
    "storage_state": _ANY,
    "last_run_created_at": _TEXT,
}
PIPELINE: Message = {
    "pipeline_id": _TEXT,
    "display_name": _TEXT,
    "name": _TEXT,
    "description": _TEXT,
    "created_at": _TEXT,
    "namespace": _TEXT,
    "error": _STRUCT,
    "tags": _TEXTS,
}
VERSION: Message = {
    "pipeline_id": _TEXT,
    "pipeline_version_id": _TEXT,
    "display_name": _TEXT,
    "name": _TEXT,
    "description": _TEXT,
    "created_at": _TEXT,
    "package_url": PACKAGE_URL,
    "code_source_url": _TEXT,
    "pipeline_spec": _STRUCT,
    "error": _STRUCT,
    "tags": _TEXTS,
}
PIPELINE_AND_VERSION: Message = {"pipeline": PIPELINE, "pipeline_version": VERSION}
RUN: Message = {
    "experiment_id": _TEXT,
    "run_id": _TEXT,
    "display_name": _TEXT,
    "storage_state": _ANY,
    "description": _TEXT,
    "pipeline_version_id": _TEXT,
    "pipeline_spec": _STRUCT,
    "pipeline_version_reference": VERSION_REFERENCE,
    "runtime_config": RUNTIME_CONFIG,
    "service_account": _TEXT,
    "created_at": _TEXT,
    "scheduled_at": _TEXT,
    "finished_at": _TEXT,
    "state": _ANY,
    "error": _STRUCT,
    "run_details": _STRUCT,
    "recurring_run_id": _TEXT,
    "state_history": _ANY,
    "plugins_input": _STRUCT,
    "plugins_output": _STRUCT,
}


def parse(message: Message, body: Any, *, what: str = "the request body") -> Json:
    """A request's body in snake_case, with unset (null) fields left out.

    Raises:
        InvalidArgument: an unknown field, or one of another type.
    """
    if not isinstance(body, dict):
        raise InvalidArgument(f"{what} must be a JSON object, but got {_short(body)}")
    names: dict[str, str] = {_camel(name): name for name in message}
    parsed: Json = {}
    for key, value in body.items():
        name = names.get(key) or key
        if name not in message:
            raise InvalidArgument(
                f"unknown field {key!r} in {what}; known are {', '.join(sorted(message))}"
            )
        if name in parsed:
            raise InvalidArgument(f"field {name!r} is given twice in {what}")
        if value is not None:
            parsed[name] = _parse_value(message[name], value, f"field {key!r}")
    return parsed


def _parse_value(kind: object, value: Any, what: str) -> Any:
    if isinstance(kind, Mapping):
        return parse(kind, value, what=what)
    fits = {
        _TEXT: isinstance(value, str),
        _STRUCT: isinstance(value, dict),
        _TEXTS: isinstance(value, dict) and all(isinstance(one, str) for one in value.values()),
        _ANY: True,
    }
    if not fits[str(kind)]:
        raise InvalidArgument(f"{what} must be {kind}, but got {_short(value)}")
    return value


def check_name(name: str, what: str, *, longest: int = MAX_NAME) -> str:
    """The name, if it is one.

    Raises:
        InvalidArgument: it is empty, or has more than ``longest`` characters.
    """
    if not name.strip() or len(name) > longest:
        raise InvalidArgument(
            f"{what} must have 1 to {longest} characters and not only spaces, but got "
            f"{_short(name)}, which has {len(name)}"
        )
    return name


def check_display_name(name: str, what: str) -> str:
    """The name, if people may be shown it: the SDK adds a date to a pipeline's longest name.

    Raises:
        InvalidArgument: as ``check_name``.
    """
    return check_name(name, what, longest=MAX_DISPLAY_NAME)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, with as many fractions of a second as protobuf writes: 0, 3 or 6."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if micros := moment.microsecond:
        fraction = f"{micros:06d}"
        text += "." + (fraction[:3] if fraction.endswith("000") else fraction)
    return text + "Z"


def _set(**fields: Any) -> Json:
    """Only the fields that are set, as protobuf's JSON does."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value not in ("", {})
    }


def error_body(code: int, message: str) -> Json:
    """google.rpc.Status as grpc-gateway writes it for KFP."""
    status = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}
    return {"code": code, "message": message, "details": [status]}


def status(message: str, state: str = "") -> Json | None:
    """An error within an answer, or what something that has not ended waits for; else None."""
    code = _UNAVAILABLE if state in _UNENDED else _INTERNAL
    return {"code": code, "message": message} if message else None


def page(key: str, items: Sequence[Json], total: int, next_token: str) -> Json:
    """A listing's answer; what is empty or 0 is left out."""
    body: Json = {key: list(items)} if items else {}
    if total:
        body["total_size"] = total
    if next_token:
        body["next_page_token"] = next_token
    return body


def experiment(record: Experiment) -> Json:
    """v2beta1 Experiment."""
    return _set(
        experiment_id=record.id,
        display_name=record.name,
        description=record.description,
        created_at=time(record.created_at),
        namespace=record.namespace,
        storage_state=record.storage_state,
        # Upstream always writes it; 1970 means that there was no run yet.
        last_run_created_at=time(record.last_run_created_at) or "1970-01-01T00:00:00Z",
    )


def pipeline(record: Pipeline) -> Json:
    """v2beta1 Pipeline."""
    return _set(
        pipeline_id=record.id,
        display_name=record.display_name,
        name=record.name,
        description=record.description,
        created_at=time(record.created_at),
        namespace=record.namespace,
        tags=dict(record.tags),
    )


def version(record: Version) -> Json:
    """v2beta1 PipelineVersion."""
    return _set(
        pipeline_id=record.pipeline_id,
        pipeline_version_id=record.id,
        display_name=record.display_name,
        name=record.name,
        description=record.description,
        created_at=time(record.created_at),
        package_url=_set(pipeline_url=record.package_url),
        code_source_url=record.code_source_url,
        pipeline_spec=spec_document(record.spec, record.platform_spec),
        tags=dict(record.tags),
    )


def spec_document(spec: Mapping[str, Any], platform_spec: Mapping[str, Any]) -> Any:
    """An IR as it stands in ``pipeline_spec``: alone, or beside its platform document."""
    if not platform_spec:
        return spec_cache.as_json(spec)
    return {
        "pipeline_spec": spec_cache.as_json(spec),
        "platform_spec": spec_cache.as_json(platform_spec),
    }


def run(record: Run, tasks: Iterable[Task] | None = None) -> Json:
    """v2beta1 Run; with its tasks if they are given."""
    source: Json = {}
    if record.pipeline_version_id:
        source["pipeline_version_reference"] = {
            "pipeline_id": record.pipeline_id,
            "pipeline_version_id": record.pipeline_version_id,
        }
    else:
        source["pipeline_spec"] = spec_document(record.spec, record.platform_spec)
    config = _set(parameters=dict(record.parameters), pipeline_root=record.pipeline_root)
    details = None if tasks is None else {"task_details": task_details(tasks)}
    return _set(
        experiment_id=record.experiment_id,
        run_id=record.id,
        display_name=record.display_name,
        storage_state=record.storage_state,
        description=record.description,
        **source,
        runtime_config=config,
        service_account=record.service_account,
        created_at=time(record.created_at),
        scheduled_at=time(record.scheduled_at or record.created_at),
        # Upstream always writes it; 1970 means that the run has not ended.
        finished_at=time(record.finished_at) or "1970-01-01T00:00:00Z",
        state=record.state.value,
        error=status(record.error, record.state),
        run_details=details,
        recurring_run_id=record.recurring_run_id,
        state_history=_history(record.history) or None,
        plugins_input=dict(record.plugins_input),
    )


def _history(changes: Iterable[StateChange]) -> list[Json]:
    return [
        _set(
            update_time=time(change.at),
            state=task_state(change.state),
            error=status(change.error),
        )
        for change in changes
    ]


def task_state(state: str) -> str:
    """A task's state as v2beta1 RuntimeState: a cached task counts as skipped, as upstream."""
    return TaskState.SKIPPED.value if state == TaskState.CACHED else str(state)


def task_details(tasks: Iterable[Task]) -> list[Json]:
    """v2beta1 PipelineTaskDetail of each task, with the ids and pods of its children.

    The pods of a step's earlier attempts are children without an id, as upstream has them.
    """
    tasks = list(tasks)
    by_id = {task.id: task for task in tasks}
    children: dict[str, list[Json]] = {}
    for task in tasks:
        child = _set(task_id=task.id, pod_name=task.pod_name)
        children.setdefault(task.parent_id, []).append(child)
    return [
        _task(
            task,
            children.get(task.id, [])
            + [{"pod_name": pod} for pod in tree.earlier_pods(task, by_id)],
        )
        for task in tasks
    ]


def _task(task: Task, children: list[Json]) -> Json:
    return _set(
        run_id=task.run_id,
        task_id=task.id,
        display_name=task_name(task),
        create_time=time(task.created_at),
        start_time=time(task.started_at or task.created_at),
        end_time=time(task.finished_at),
        state=task_state(task.state),
        error=status(task.error, task.state),
        inputs=_artifact_ids(task.inputs),
        outputs=_artifact_ids(task.outputs),
        parent_task_id=task.parent_id,
        state_history=_history(task.history) or None,
        pod_name=task.pod_name,
        child_tasks=children or None,
    )


def task_name(task: Task) -> str:
    """What people call the task; an iteration is told by its number."""
    if task.kind is TaskKind.DAG and task.iteration >= 0:
        return f"{task.display_name or task.name}[{task.iteration}]"
    return task.display_name or task.name


def _artifact_ids(values: Values) -> Json:
    return {name: {"artifact_ids": list(ids)} for name, ids in values.artifacts.items()}


def artifact(found: Provenance) -> Json:
    """An artifact, in the shape that upstream plans for GET /artifacts (proposal 12147)."""
    record = found.artifact
    links = [
        {"task_id": link.task_id, "run_id": link.run_id, "type": link.direction, "key": link.name}
        for link in found.links
    ]
    return _set(
        artifact_id=record.id,
        name=record.name,
        type=record.type,
        schema_version=record.schema_version,
        uri=record.uri,
        metadata=dict(record.metadata),
        namespace=found.namespace,
        created_at=time(found.created_at),
        run_id=found.run_id,
        task_id=found.task_id,
        artifact_tasks=links or None,
    )

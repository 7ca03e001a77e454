"""Records to table rows and back. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import RowMapping

from bessemer.database.tables import EPOCH, micros_of, moment_of
from bessemer.pipelines.records import (
    Artifact,
    Lease,
    Run,
    RunState,
    StateChange,
    Task,
    TaskKind,
    TaskState,
    Values,
)


def from_changes(changes: Iterable[StateChange]) -> list[list[Any]]:
    """A state history as compact JSON: [state, microseconds since 1970, error]."""
    return [[change.state, micros_of(change.at), change.error] for change in changes]


def to_changes(values: Iterable[list[Any]]) -> tuple[StateChange, ...]:
    """The history that ``from_changes`` wrote."""
    return tuple(StateChange(state, moment_of(at) or EPOCH, error) for state, at, error in values)


def from_spec(spec: Mapping[str, Any], platform_spec: Mapping[str, Any]) -> dict[str, Any]:
    """An IR as a row, with its hash as id."""
    text = orjson.dumps([spec, platform_spec], option=orjson.OPT_SORT_KEYS)
    id_ = hashlib.sha256(text).hexdigest()
    return {"id": id_, "spec": dict(spec), "platform_spec": dict(platform_spec)}


def from_run(run: Run, spec_id: str) -> dict[str, Any]:
    """A run as a row."""
    info = run.spec.get("pipelineInfo") or {}
    return {
        "id": run.id,
        "namespace": run.namespace,
        "experiment_id": run.experiment_id,
        "display_name": run.display_name,
        "description": run.description,
        "storage_state": run.storage_state,
        "state": run.state,
        "created_at": run.created_at,
        "scheduled_at": run.scheduled_at,
        "finished_at": run.finished_at,
        "pipeline_name": info.get("name", ""),
        "pipeline_id": run.pipeline_id,
        "pipeline_version_id": run.pipeline_version_id,
        "recurring_run_id": run.recurring_run_id,
        "service_account": run.service_account,
        "pipeline_root": run.pipeline_root,
        "spec_id": spec_id,
        "parameters": dict(run.parameters),
        "plugins_input": dict(run.plugins_input),
        "error": run.error,
        "history": from_changes(run.history),
        "owner": run.lease.owner,
        "generation": run.lease.generation,
    }


def to_run(row: RowMapping, spec: Mapping[str, Any]) -> Run:
    """A row and its IR as a run."""
    return Run(
        id=row["id"],
        namespace=row["namespace"],
        display_name=row["display_name"],
        spec=spec["spec"],
        platform_spec=spec["platform_spec"],
        parameters=row["parameters"],
        state=RunState(row["state"]),
        created_at=row["created_at"],
        experiment_id=row["experiment_id"],
        pipeline_id=row["pipeline_id"],
        pipeline_version_id=row["pipeline_version_id"],
        recurring_run_id=row["recurring_run_id"],
        pipeline_root=row["pipeline_root"],
        service_account=row["service_account"],
        description=row["description"],
        storage_state=row["storage_state"],
        scheduled_at=row["scheduled_at"],
        finished_at=row["finished_at"],
        error=row["error"],
        history=to_changes(row["history"]),
        plugins_input=row["plugins_input"],
        lease=Lease(row["owner"], row["generation"]),
    )


def _from_values(values: Values) -> dict[str, Any]:
    artifacts = {name: list(ids) for name, ids in values.artifacts.items()}
    return {"parameters": dict(values.parameters), "artifacts": artifacts}


def from_task(task: Task) -> dict[str, Any]:
    """A task as a row."""
    return {
        "id": task.id,
        "run_id": task.run_id,
        "parent_id": task.parent_id,
        "name": task.name,
        "iteration": task.iteration,
        "kind": task.kind,
        "state": task.state,
        "display_name": task.display_name,
        "attempt": task.attempt,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "retry_at": task.retry_at,
        "inputs": _from_values(task.inputs),
        "outputs": _from_values(task.outputs),
        "error": task.error,
        "pod_name": task.pod_name,
        "task_root": task.task_root,
        "fingerprint": task.fingerprint,
        "history": from_changes(task.history),
    }


def to_task(row: RowMapping) -> Task:
    """A row as a task."""
    return Task(
        id=row["id"],
        run_id=row["run_id"],
        parent_id=row["parent_id"],
        name=row["name"],
        iteration=row["iteration"],
        kind=TaskKind(row["kind"]),
        state=TaskState(row["state"]),
        display_name=row["display_name"],
        attempt=row["attempt"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        retry_at=row["retry_at"],
        inputs=Values(**row["inputs"]),
        outputs=Values(**row["outputs"]),
        error=row["error"],
        pod_name=row["pod_name"],
        task_root=row["task_root"],
        fingerprint=row["fingerprint"],
        history=to_changes(row["history"]),
    )


def to_links(task: Task) -> list[dict[str, Any]]:
    """The lineage rows of a task: one for each artifact that it names."""
    return [
        {
            "task_id": task.id,
            "direction": direction,
            "name": name,
            "position": position,
            "artifact_id": id_,
            "run_id": task.run_id,
        }
        for direction, values in (("INPUT", task.inputs), ("OUTPUT", task.outputs))
        for name, ids in values.artifacts.items()
        for position, id_ in enumerate(ids)
    ]


def from_artifact(
    artifact: Artifact, namespace: str, run_id: str, maker: Task | None
) -> dict[str, Any]:
    """An artifact as a row; its maker is the task whose output it is."""
    made_at = maker and (maker.finished_at or maker.started_at or maker.created_at)
    return {
        "id": artifact.id,
        "namespace": namespace,
        "run_id": maker.run_id if maker else run_id,
        "task_id": maker.id if maker else "",
        "name": artifact.name,
        "type": artifact.type,
        "schema_version": artifact.schema_version,
        "uri": artifact.uri,
        "metadata": dict(artifact.metadata),
        "custom_path": artifact.custom_path,
        "created_at": made_at,
    }


def to_artifact(row: RowMapping) -> Artifact:
    """A row as an artifact."""
    return Artifact(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        schema_version=row["schema_version"],
        uri=row["uri"],
        metadata=row["metadata"],
        custom_path=row["custom_path"],
    )

"""The nouns of a pipeline: components, DAGs, tasks, and where their inputs come from.

Source: api/v2alpha1/pipeline_spec.proto. All are immutable and shared by every run of a spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bessemer.base.errors import BessemerError
from bessemer.pipelines.conditions import Expression
from bessemer.pipelines.types import ParameterType


class InvalidSpec(BessemerError):
    """The document is no pipeline that we can run."""


@dataclass(frozen=True, slots=True)
class ParameterDef:
    """A declared parameter; ``default`` means nothing unless ``has_default``."""

    type: ParameterType
    optional: bool = False
    has_default: bool = False
    default: Any = None
    literals: tuple[Any, ...] = ()  # if any: the value must be one of them


@dataclass(frozen=True, slots=True)
class ArtifactDef:
    """A declared artifact, or list of artifacts."""

    type: str  # schemaTitle: "system.Model"
    version: str = "0.0.1"
    is_list: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """A value that another task of the same DAG produces."""

    task: str
    key: str


@dataclass(frozen=True, slots=True)
class DagInput:
    """A value that the enclosing component was given."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the spec; its texts may hold placeholders."""

    value: Any


@dataclass(frozen=True, slots=True)
class FinalStatus:
    """How another task of the same DAG ended."""

    task: str


Source = TaskOutput | DagInput | Constant | FinalStatus


@dataclass(frozen=True, slots=True)
class ParameterInput:
    """Where a task's parameter comes from; with a selector: one field of that."""

    source: Source
    field: str = ""  # parseJson(string_value)["field"]


@dataclass(frozen=True, slots=True)
class Iterator:
    """What a loop goes over: exactly one of the three sources."""

    item_input: str
    raw: str | None = None  # a JSON list
    parameter: str = ""  # an input parameter of the task itself
    artifact: str = ""  # an input artifact list of the task itself


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed pod is tried again."""

    limit: int
    backoff: float = 0.0  # seconds before the first retry
    factor: float = 2.0  # each further delay is longer by it
    window: float = 3600.0  # seconds from the first start in which retries may begin


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task of a DAG."""

    name: str
    display_name: str
    component: str
    parameters: Mapping[str, ParameterInput] = field(default_factory=dict)
    artifacts: Mapping[str, TaskOutput | DagInput] = field(default_factory=dict)
    depends: frozenset[str] = frozenset()  # every task that must have ended before
    condition: Expression | None = None
    always: bool = False  # runs however the others ended
    iterator: Iterator | None = None
    parallelism: int = 0  # loop iterations at a time; 0: all
    retry: Retry | None = None
    cache: bool = False
    cache_key: str = ""


@dataclass(frozen=True, slots=True)
class Dag:
    """Tasks, and which outputs are the DAG's own: of several, the first that is there."""

    tasks: Mapping[str, TaskSpec]
    dependents: Mapping[str, tuple[str, ...]]  # task -> those that wait for it
    parameters: Mapping[str, tuple[TaskOutput, ...]]
    artifacts: Mapping[str, tuple[TaskOutput, ...]]


@dataclass(frozen=True, slots=True)
class Container:
    """A command in an image; any text may hold placeholders."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Importer:
    """An artifact that exists already: ``uri`` is a text, or an input parameter's name."""

    uri: str
    uri_parameter: str
    type: str
    version: str
    metadata: Mapping[str, Any]
    reimport: bool


class Claim(StrEnum):
    """What kfp-kubernetes' components do with a PersistentVolumeClaim; there is no pod."""

    CREATE = "CreatePVC"
    DELETE = "DeletePVC"


@dataclass(frozen=True, slots=True)
class Component:
    """What a task runs: a DAG, a container, an importer or a claim; declared inputs, outputs."""

    name: str
    parameters: Mapping[str, ParameterDef]
    artifacts: Mapping[str, ArtifactDef]
    output_parameters: Mapping[str, ParameterDef]
    output_artifacts: Mapping[str, ArtifactDef]
    body: Dag | Container | Importer | Claim
    executor: str = ""  # its label, by which the platform spec names it


@dataclass(frozen=True)
class Spec:
    """A pipeline, checked."""

    name: str
    display_name: str
    description: str
    root: Component
    components: Mapping[str, Component]
    default_root: str  # defaultPipelineRoot
    # executor label -> its Kubernetes settings
    kubernetes: Mapping[str, Mapping[str, Any]]
    document: Mapping[str, Any]  # the IR as given
    platform_document: Mapping[str, Any]  # the PlatformSpec as given, empty if none
    # DAG component -> the tasks in it and below, an iteration of a loop as one
    tasks: Mapping[str, int] = field(default_factory=dict)

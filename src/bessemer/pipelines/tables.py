"""The pipelines' tables. A change here needs a migration (``database/migrations/versions``).

A pipeline's IR is large and runs share it, so it has a table of its own, keyed by its hash; the
rows of ``runs`` stay small and a listing of 100 000 stays fast. The indexes follow the REST
face's sort orders: each ends in the id, by which equal rows are paged.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, UniqueConstraint

from bessemer.database.tables import METADATA, Json, Moment, Words

_ID = Words(64)
_NAME = Words(256)
_STATE = Words(16)

SPECS = Table(
    "pipeline_specs",
    METADATA,
    Column("id", _ID, primary_key=True),  # sha256 of both documents
    Column("spec", Json, nullable=False),
    Column("platform_spec", Json, nullable=False),
)

EXPERIMENTS = Table(
    "experiments",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("namespace", _NAME, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("description", Words(), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_run_created_at", Moment, nullable=False),
    Column("storage_state", _STATE, nullable=False),
    UniqueConstraint("namespace", "name"),
    Index(None, "namespace", "created_at", "id"),
    Index(None, "namespace", "last_run_created_at", "id"),
)

PIPELINES = Table(
    "pipelines",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("namespace", _NAME, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("display_name", _NAME, nullable=False),
    Column("description", Words(), nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("namespace", "name"),
    Index(None, "namespace", "created_at", "id"),
)

VERSIONS = Table(
    "pipeline_versions",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("pipeline_id", _ID, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("display_name", _NAME, nullable=False),
    Column("description", Words(), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("spec_id", _ID, nullable=False, index=True),
    Column("code_source_url", Words(), nullable=False),
    Column("package_url", Words(), nullable=False),
    UniqueConstraint("pipeline_id", "name"),
    Index(None, "pipeline_id", "created_at", "id"),
)

# Of pipelines and versions alike: their ids never meet.
TAGS = Table(
    "tags",
    METADATA,
    Column("owner_id", _ID, primary_key=True),
    Column("key", Words(63), primary_key=True),
    Column("value", Words(63), nullable=False),
    Index(None, "key", "value"),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("namespace", _NAME, nullable=False),
    Column("experiment_id", _ID, nullable=False),
    Column("display_name", _NAME, nullable=False),
    Column("description", Words(), nullable=False),
    Column("storage_state", _STATE, nullable=False),
    Column("state", _STATE, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("scheduled_at", Moment, nullable=False),
    Column("finished_at", Moment, nullable=False),
    Column("pipeline_name", _NAME, nullable=False),  # pipelineInfo.name: the cache's scope
    Column("pipeline_id", _ID, nullable=False),
    Column("pipeline_version_id", _ID, nullable=False),
    Column("recurring_run_id", _ID, nullable=False),
    Column("service_account", _NAME, nullable=False),
    Column("pipeline_root", Words(), nullable=False),
    Column("spec_id", _ID, nullable=False, index=True),
    Column("parameters", Json, nullable=False),
    Column("plugins_input", Json, nullable=False),
    Column("error", Words(), nullable=False),
    Column("history", Json, nullable=False),
    Column("owner", _NAME, nullable=False, server_default=""),  # the replica that drives it
    Column("generation", BigInteger, nullable=False, server_default="0"),  # grows with each owner
    Index(None, "namespace", "created_at", "id"),
    Index(None, "namespace", "finished_at", "id"),
    Index(None, "namespace", "scheduled_at", "id"),
    Index(None, "namespace", "display_name", "id"),
    Index(None, "namespace", "state", "id"),
    Index(None, "namespace", "storage_state", "id"),
    Index(None, "namespace", "experiment_id", "created_at", "id"),
    Index(None, "recurring_run_id", "created_at", "id"),
    Index(None, "pipeline_version_id"),
    Index(None, "state"),
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, nullable=False, index=True),
    Column("parent_id", _ID, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("kind", _STATE, nullable=False),
    Column("state", _STATE, nullable=False),
    Column("display_name", _NAME, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment, nullable=False),
    Column("retry_at", Moment, nullable=False),
    Column("inputs", Json, nullable=False),
    Column("outputs", Json, nullable=False),
    Column("error", Words(), nullable=False),
    Column("pod_name", _NAME, nullable=False),
    Column("task_root", Words(), nullable=False),
    Column("fingerprint", _ID, nullable=False),
    Column("history", Json, nullable=False),
    Index(None, "fingerprint", "finished_at"),
)

ARTIFACTS = Table(
    "artifacts",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("namespace", _NAME, nullable=False),
    Column("run_id", _ID, nullable=False, index=True),  # who made it; empty when not known
    Column("task_id", _ID, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("type", _NAME, nullable=False),
    Column("schema_version", Words(32), nullable=False),
    Column("uri", Words(), nullable=False),
    Column("metadata", Json, nullable=False),
    Column("custom_path", Words(), nullable=False),
    Column("created_at", Moment, nullable=False),
    # Addresses may be longer than a PostgreSQL tree takes.
    Index(None, "uri", postgresql_using="hash"),
    Index(None, "namespace", "created_at", "id"),
)

# Lineage: which task took or gave which artifact, under which name.
LINKS = Table(
    "artifact_links",
    METADATA,
    Column("task_id", _ID, primary_key=True),
    Column("direction", Words(8), primary_key=True),  # INPUT or OUTPUT
    Column("name", _NAME, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("artifact_id", _ID, nullable=False, index=True),
    Column("run_id", _ID, nullable=False, index=True),
)

# The replicas whose engines drive runs. Who has not counted on for a while is dead, by the clocks
# of those who watch it.
REPLICAS = Table(
    "replicas",
    METADATA,
    Column("id", _NAME, primary_key=True),
    Column("beats", BigInteger, nullable=False),
)

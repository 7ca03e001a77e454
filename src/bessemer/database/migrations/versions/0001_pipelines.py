"""The pipelines' first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _words(length: int | None = None) -> sa.types.TypeEngine[str]:
    kept = sa.String(length) if length else sa.Text()
    return kept.with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "artifact_links",
        sa.Column("task_id", _words(64), nullable=False),
        sa.Column("direction", _words(8), nullable=False),
        sa.Column("name", _words(256), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("artifact_id", _words(64), nullable=False),
        sa.Column("run_id", _words(64), nullable=False),
        sa.PrimaryKeyConstraint(
            "task_id", "direction", "name", "position", name="pk_artifact_links"
        ),
    )
    op.create_index("ix_artifact_links_artifact_id", "artifact_links", ["artifact_id"])
    op.create_index("ix_artifact_links_run_id", "artifact_links", ["run_id"])
    op.create_table(
        "artifacts",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("namespace", _words(256), nullable=False),
        sa.Column("run_id", _words(64), nullable=False),
        sa.Column("task_id", _words(64), nullable=False),
        sa.Column("name", _words(256), nullable=False),
        sa.Column("type", _words(256), nullable=False),
        sa.Column("schema_version", _words(32), nullable=False),
        sa.Column("uri", _words(), nullable=False),
        sa.Column("metadata", sa.LargeBinary(), nullable=False),
        sa.Column("custom_path", _words(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index(
        "ix_artifacts_namespace_created_at_id", "artifacts", ["namespace", "created_at", "id"]
    )
    op.create_index("ix_artifacts_run_id", "artifacts", ["run_id"])
    op.create_index("ix_artifacts_uri", "artifacts", ["uri"], postgresql_using="hash")
    op.create_table(
        "experiments",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("namespace", _words(256), nullable=False),
        sa.Column("name", _words(256), nullable=False),
        sa.Column("description", _words(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_run_created_at", sa.BigInteger(), nullable=False),
        sa.Column("storage_state", _words(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("namespace", "name", name="uq_experiments_namespace_name"),
    )
    op.create_index(
        "ix_experiments_namespace_created_at_id", "experiments", ["namespace", "created_at", "id"]
    )
    op.create_index(
        "ix_experiments_namespace_last_run_created_at_id",
        "experiments",
        ["namespace", "last_run_created_at", "id"],
    )
    op.create_table(
        "pipeline_specs",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("platform_spec", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pipeline_specs"),
    )
    op.create_table(
        "pipeline_versions",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("pipeline_id", _words(64), nullable=False),
        sa.Column("name", _words(256), nullable=False),
        sa.Column("display_name", _words(256), nullable=False),
        sa.Column("description", _words(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("spec_id", _words(64), nullable=False),
        sa.Column("code_source_url", _words(), nullable=False),
        sa.Column("package_url", _words(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pipeline_versions"),
        sa.UniqueConstraint("pipeline_id", "name", name="uq_pipeline_versions_pipeline_id_name"),
    )
    op.create_index(
        "ix_pipeline_versions_pipeline_id_created_at_id",
        "pipeline_versions",
        ["pipeline_id", "created_at", "id"],
    )
    op.create_index("ix_pipeline_versions_spec_id", "pipeline_versions", ["spec_id"])
    op.create_table(
        "pipelines",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("namespace", _words(256), nullable=False),
        sa.Column("name", _words(256), nullable=False),
        sa.Column("display_name", _words(256), nullable=False),
        sa.Column("description", _words(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pipelines"),
        sa.UniqueConstraint("namespace", "name", name="uq_pipelines_namespace_name"),
    )
    op.create_index(
        "ix_pipelines_namespace_created_at_id", "pipelines", ["namespace", "created_at", "id"]
    )
    op.create_table(
        "runs",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("namespace", _words(256), nullable=False),
        sa.Column("experiment_id", _words(64), nullable=False),
        sa.Column("display_name", _words(256), nullable=False),
        sa.Column("description", _words(), nullable=False),
        sa.Column("storage_state", _words(16), nullable=False),
        sa.Column("state", _words(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("pipeline_name", _words(256), nullable=False),
        sa.Column("pipeline_id", _words(64), nullable=False),
        sa.Column("pipeline_version_id", _words(64), nullable=False),
        sa.Column("recurring_run_id", _words(64), nullable=False),
        sa.Column("service_account", _words(256), nullable=False),
        sa.Column("pipeline_root", _words(), nullable=False),
        sa.Column("spec_id", _words(64), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.Column("plugins_input", sa.LargeBinary(), nullable=False),
        sa.Column("error", _words(), nullable=False),
        sa.Column("history", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_namespace_created_at_id", "runs", ["namespace", "created_at", "id"])
    op.create_index(
        "ix_runs_namespace_display_name_id", "runs", ["namespace", "display_name", "id"]
    )
    op.create_index(
        "ix_runs_namespace_experiment_id_created_at_id",
        "runs",
        ["namespace", "experiment_id", "created_at", "id"],
    )
    op.create_index("ix_runs_namespace_finished_at_id", "runs", ["namespace", "finished_at", "id"])
    op.create_index(
        "ix_runs_namespace_scheduled_at_id", "runs", ["namespace", "scheduled_at", "id"]
    )
    op.create_index("ix_runs_namespace_state_id", "runs", ["namespace", "state", "id"])
    op.create_index(
        "ix_runs_namespace_storage_state_id", "runs", ["namespace", "storage_state", "id"]
    )
    op.create_index("ix_runs_pipeline_version_id", "runs", ["pipeline_version_id"])
    op.create_index(
        "ix_runs_recurring_run_id_created_at_id", "runs", ["recurring_run_id", "created_at", "id"]
    )
    op.create_index("ix_runs_spec_id", "runs", ["spec_id"])
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "tags",
        sa.Column("owner_id", _words(64), nullable=False),
        sa.Column("key", _words(63), nullable=False),
        sa.Column("value", _words(63), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "key", name="pk_tags"),
    )
    op.create_index("ix_tags_key_value", "tags", ["key", "value"])
    op.create_table(
        "tasks",
        sa.Column("id", _words(64), nullable=False),
        sa.Column("run_id", _words(64), nullable=False),
        sa.Column("parent_id", _words(64), nullable=False),
        sa.Column("name", _words(256), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("kind", _words(16), nullable=False),
        sa.Column("state", _words(16), nullable=False),
        sa.Column("display_name", _words(256), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=False),
        sa.Column("error", _words(), nullable=False),
        sa.Column("pod_name", _words(256), nullable=False),
        sa.Column("task_root", _words(), nullable=False),
        sa.Column("fingerprint", _words(64), nullable=False),
        sa.Column("history", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_fingerprint_finished_at", "tasks", ["fingerprint", "finished_at"])
    op.create_index("ix_tasks_run_id", "tasks", ["run_id"])

"""The pipelines' first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "artifact_links",
        sa.Column("task_id", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("artifact_id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint(
            "task_id", "direction", "name", "position", name="pk_artifact_links"
        ),
    )
    op.create_index("ix_artifact_links_artifact_id", "artifact_links", ["artifact_id"])
    op.create_index("ix_artifact_links_run_id", "artifact_links", ["run_id"])
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(256), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("task_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("type", sa.String(256), nullable=False),
        sa.Column("schema_version", sa.String(32), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("metadata", sa.LargeBinary(), nullable=False),
        sa.Column("custom_path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index(
        "ix_artifacts_namespace_created_at_id", "artifacts", ["namespace", "created_at", "id"]
    )
    op.create_index("ix_artifacts_run_id", "artifacts", ["run_id"])
    op.create_index("ix_artifacts_uri", "artifacts", ["uri"])
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(256), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_run_created_at", sa.BigInteger(), nullable=False),
        sa.Column("storage_state", sa.String(16), nullable=False),
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
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("platform_spec", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pipeline_specs"),
    )
    op.create_table(
        "pipeline_versions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("pipeline_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("spec_id", sa.String(64), nullable=False),
        sa.Column("code_source_url", sa.Text(), nullable=False),
        sa.Column("package_url", sa.Text(), nullable=False),
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
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(256), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pipelines"),
        sa.UniqueConstraint("namespace", "name", name="uq_pipelines_namespace_name"),
    )
    op.create_index(
        "ix_pipelines_namespace_created_at_id", "pipelines", ["namespace", "created_at", "id"]
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(256), nullable=False),
        sa.Column("experiment_id", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("storage_state", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("pipeline_name", sa.String(256), nullable=False),
        sa.Column("pipeline_id", sa.String(64), nullable=False),
        sa.Column("pipeline_version_id", sa.String(64), nullable=False),
        sa.Column("recurring_run_id", sa.String(64), nullable=False),
        sa.Column("service_account", sa.String(256), nullable=False),
        sa.Column("pipeline_root", sa.Text(), nullable=False),
        sa.Column("spec_id", sa.String(64), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.Column("plugins_input", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
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
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("value", sa.String(63), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "key", name="pk_tags"),
    )
    op.create_index("ix_tags_key_value", "tags", ["key", "value"])
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("parent_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("pod_name", sa.String(256), nullable=False),
        sa.Column("task_root", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("history", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_fingerprint_finished_at", "tasks", ["fingerprint", "finished_at"])
    op.create_index("ix_tasks_run_id", "tasks", ["run_id"])

"""The chain of changes to the database's form, one file a step, and its newest state by name.

May import: nothing of ours; ``versions`` only alembic and sqlalchemy.

To change a table: edit the room's declaration, add ``versions/NNNN_what.py``, move HEAD, and add
new tables to TABLES. ``tests/unit/database`` compares the two ways to the same form.
"""

#: Every revision, oldest first.
REVISIONS = ("0001", "0002")
HEAD = REVISIONS[-1]

#: Every table at HEAD, so that a new database is never stamped while some are missing.
TABLES = frozenset(
    {
        "artifact_links",
        "artifacts",
        "experiments",
        "pipeline_specs",
        "pipeline_versions",
        "pipelines",
        "replicas",
        "runs",
        "tags",
        "tasks",
    }
)

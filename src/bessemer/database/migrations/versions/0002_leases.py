"""Which replica drives a run, and which replicas there are."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _words(length: int | None = None) -> sa.types.TypeEngine[str]:
    kept = sa.String(length) if length else sa.Text()
    return kept.with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", _words(256), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    owner = sa.Column("owner", _words(256), nullable=False, server_default="")
    op.add_column("runs", owner)
    generation = sa.Column("generation", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("runs", generation)

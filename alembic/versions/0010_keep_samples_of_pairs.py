"""Keep a sample of pairs of models, for percentiles without all pairs; find partial models by index."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pair_samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("num_models", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("packed_weights", sa.LargeBinary(), nullable=False),
        sa.Column("packed_kind", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair_samples")),
        sa.UniqueConstraint("version", name=op.f("uq_pair_samples_version")),
    )
    op.create_index(op.f("ix_models_is_partial"), "models", ["is_partial"])


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

"""Keep what people say of a model, tags and a note, by its key; find models of the same file."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_tags"),
        sa.UniqueConstraint("key", "tag", name="uq_model_tags_key_tag"),
    )
    op.create_table(
        "model_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_notes"),
        sa.UniqueConstraint("key", name="uq_model_notes_key"),
    )
    op.create_index("ix_models_sha256", "models", ["sha256"])


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

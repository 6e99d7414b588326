"""Keep what became of every byte of a model, and how it was quantised; unknown for models kept so far."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("quantisation", sa.Text(), nullable=True))
    op.add_column("models", sa.Column("stored_bits", sa.Double(), nullable=True))
    for name in ("read_bytes", "tied_bytes", "buffer_bytes", "unreadable_bytes"):
        op.add_column("models", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("models", sa.Column("is_partial", sa.Boolean(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

"""Keep what said the roles and axes of a model: names, or names and tracing; unknown for models kept so far."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("wiring_source", sa.Text(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

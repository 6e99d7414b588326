"""Keep the interval of a statistic that was taken on a sample of rows; unknown for the statistics kept so far."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("low", "high"):
        op.add_column("metrics", sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

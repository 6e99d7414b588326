"""Keep what a fit is worth at 8 bits, and the cosine transform beside it; unknown for the fits kept so far."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    "dct_r2",
    "dct_null_r2",
    "bits_per_weight_8bit",
    "r2_8bit",
    "null_r2_8bit",
    "svd_r2_8bit",
    "svd_null_r2_8bit",
    "ceiling_r2_8bit",
)


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("fits", sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

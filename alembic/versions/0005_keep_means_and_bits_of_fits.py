"""Keep what the means hold of a fit, the null that keeps them, and the best baselines in bits; unknown for fits kept so
far."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INTEGERS = ("additive_numbers", "svd_bits_width")
FLOATS = (
    "additive_r2",
    "means_null_r2",
    "means_null_r2_std",
    "gain_beyond_means",
    "svd_means_null_r2",
    "svd_bits_r2",
    "svd_bits_null_r2",
    "dct_bits_r2",
    "dct_bits_null_r2",
)


def upgrade() -> None:
    for name in INTEGERS:
        op.add_column("fits", sa.Column(name, sa.BigInteger(), nullable=True))
    for name in FLOATS:
        op.add_column("fits", sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

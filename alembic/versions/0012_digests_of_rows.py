"""Keep digests of a pattern's rows and of a sample of pairs.

They are NULL here: `schema` makes those of patterns when all migrations are done, and a sample without one is
drawn again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("patterns", sa.Column("digests", sa.LargeBinary(), nullable=True))
    op.add_column("pair_samples", sa.Column("digest", sa.Text(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

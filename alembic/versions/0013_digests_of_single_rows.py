"""Keep a digest with each run, each model and stage of a run, each tag and each note.

They are NULL here: `schema` makes them when all migrations are done.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("runs", "run_models", "stages", "model_tags", "model_notes")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("digest", sa.Text(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

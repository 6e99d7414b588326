"""A run is one invocation of `mine`: keep its process, command, end and heartbeat. Each run so far becomes one.

Runs had been named by what they were asked: that name stays theirs, and is the key of their request too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXTS = ("host", "user_name", "machine", "process_start", "command", "stopped_by", "error")
IN_ORDER = """
    UPDATE runs SET request_key = run, sequence = ordered.place
    FROM (SELECT id, row_number() OVER (ORDER BY coalesce(finished, started), id) AS place FROM runs) AS ordered
    WHERE ordered.id = runs.id
"""


def upgrade() -> None:
    op.add_column("runs", sa.Column("request_key", sa.Text(), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("sequence", sa.BigInteger(), nullable=False, server_default="0"))
    for name in TEXTS:
        op.add_column("runs", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("pid", sa.Integer(), nullable=True))
    for name in ("versions", "at_work"):
        op.add_column("runs", sa.Column(name, sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("heartbeat", sa.DateTime(timezone=True), nullable=True))
    op.add_column("runs", sa.Column("seconds", sa.Double(), nullable=True))
    op.add_column("stages", sa.Column("is_reused", sa.Boolean(), nullable=True))
    op.execute(IN_ORDER)
    for name in ("request_key", "sequence"):
        op.create_index(op.f(f"ix_runs_{name}"), "runs", [name])


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

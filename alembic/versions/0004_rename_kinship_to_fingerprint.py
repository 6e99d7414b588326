"""Rename the signature's block `kinship` to `fingerprint`; its values stay, so version 6 becomes version 7."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LAYOUTS = sa.table(
    "signature_layouts",
    sa.column("id", sa.Integer()),
    sa.column("digest", sa.Text()),
    sa.column("version", sa.Text()),
    sa.column("names", sa.JSON()),
)
OLD, NEW = "kinship/", "fingerprint/"
VERSIONS = {"6": "7"}
"""Signatures of older versions cannot be compared with today's; they keep their number."""


def upgrade() -> None:
    connection = op.get_bind()
    for layout in connection.execute(sa.select(LAYOUTS)).all():
        names = [NEW + name.removeprefix(OLD) if name.startswith(OLD) else name for name in layout.names]
        version = VERSIONS.get(layout.version, layout.version)
        # As `patterndb` does it: the digest is what tells one layout from another.
        text = json.dumps([version, names], sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        values = {"digest": digest, "version": version, "names": names}
        connection.execute(sa.update(LAYOUTS).where(LAYOUTS.c.id == layout.id).values(**values))


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")

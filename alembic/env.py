"""Where alembic starts: with the connection that `patterndb.connection.schema` hands it, or, for a developer's
`alembic revision --autogenerate`, with the database of `DNA_ZOO_DB`."""

import os

from alembic import context
from sqlalchemy import Connection

from patterndb.connection.engine import parse_url
from patterndb.connection.schema import AUTOGENERATE_PLUGINS, migration_connection
from patterndb.tables import METADATA


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        render_as_batch=True,
        # SQLite can, once transactions are begun for real as our engines do.
        transactional_ddl=True,
        autogenerate_plugins=AUTOGENERATE_PLUGINS,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("dna-zoo's migrations run against a database, not into a script.")
if "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    with migration_connection(parse_url(os.environ["DNA_ZOO_DB"])) as own_connection:
        run(own_connection)

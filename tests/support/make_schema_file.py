"""Make the small database that is kept of a released schema: `python -m tests.support.make_schema_file PATH`.

Run once, when a migration is released; never again for the same revision.
"""

import math
import sqlite3
import sys
from pathlib import Path

from patterndb.records import Statistic
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns


def main(path: Path) -> None:
    statistics = (Statistic(name="x", value=math.nan, z=math.inf, p=0.5),)
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        save_patterns(database, make_pattern("kept", num_blocks=1, statistics=statistics))
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 1024", "VACUUM"):
        connection.execute(pragma)
    connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What tests of pictures share: one browser a process, and models that were mined."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.source import Source
from patterndb.store import PatternDatabase
from tests.support.browser import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def source(mined_home: Path) -> Iterator[Source]:
    with PatternDatabase.open(f"sqlite:///{mined_home / 'dna-zoo.db'}", create=False) as database:
        yield Source(database=database, home=mined_home)

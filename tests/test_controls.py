"""The places that `tests/mutations.py` would change are there, so that it can be run when it is needed."""

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.title.replace(" ", "-"))
def test_every_mutation_has_its_place(mutation: Mutation) -> None:
    source = (ROOT / mutation.path).read_text()
    assert mutation.applied(source) != source

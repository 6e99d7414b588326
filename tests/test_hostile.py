"""Models from strangers: an answer, or two sentences; nothing run, nothing beside the home, no run left running."""

import pytest

from benchmarks.hostile.cases import CASES
from benchmarks.hostile.judge import judge

QUICK = ("damaged_header", "pickles", "special_file", "zip_bomb", "odd_index")


@pytest.mark.parametrize(
    "kind", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in CASES]
)
def test_every_kind_is_answered_or_refused(kind: str) -> None:
    found = judge(kind, 1, 0)
    assert found["verdict"] in ("answered", "refused"), found["reason"]

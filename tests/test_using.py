"""The tour of docs/using.md, run as it is written."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "using.md").read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_tour_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DNA_ZOO_DB", raising=False)
    monkeypatch.setenv("DNA_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/using.md", "exec"), names)
    assert len(BLOCKS) >= 8 and {"zoo", "dna", "again"} <= set(names)
    names["zoo"].close()

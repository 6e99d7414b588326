"""Write `zoo/tracing/held.json`: the model types whose names agree with their code.

Run as `python -m tests.support.make_held`, after `python -m benchmarks.wiring`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zoo.tracing
from benchmarks.parts.scaffold import read_results
from zoo.tracing.held import HELD

__all__ = ["PAGE", "held"]

PAGE = Path(zoo.tracing.__path__[0]) / HELD


def held(found: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, list[str]]:
    """What `benchmarks.wiring` has kept, as the two lists of `held.json`; `before` is the file so far.

    A type agrees where its tracing was proven for the whole model, and names say nothing otherwise, or nothing but
    words. Once mended, it stays so.
    """
    agree = [row["type"] for row in found["types"] if row["status"] == "proven" and not row["disagreements"]]
    mended = set(before.get("mended", ())) | (set(agree) - set(before.get("agree", agree)))
    return {"agree": sorted(agree), "mended": sorted(mended & set(agree))}


def main() -> None:
    before = json.loads(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    text = json.dumps(held(read_results("wiring"), before), indent=1)
    PAGE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write `zoo/tracing/shipped.json.gz`: the wirings of the zoo's models, traced from the code of `transformers`.

Run as `python -m tests.support.make_wirings`, after a change of `zoo/tracing`. Takes about a minute.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import zoo.tracing
from tests.support.tensor_headers import FOLDER, load_fixture
from zoo.tracing.of_config import trace_config
from zoo.tracing.shipped import SHIPPED, architecture_key
from zoo.tracing.traced import TracedWiring

__all__ = ["PAGE", "traced"]

PAGE = Path(zoo.tracing.__file__).parent / SHIPPED


def traced(key: str) -> TracedWiring:
    """The wiring of one model of the zoo, by its published configuration."""
    return trace_config(load_fixture(key).config)


def main() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    keys = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
    wirings: dict[str, Any] = {}
    for key in keys:
        try:
            wirings[architecture_key(load_fixture(key).config, "")] = traced(key).as_json()
        except Exception as error:
            print(f"{key}: {error}")
    text = json.dumps({"transformers": transformers.__version__, "wirings": wirings}, separators=(",", ":"))
    # No time of writing in the file: the same code gives the same bytes.
    PAGE.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()

"""Write `tests/data/tensor_headers/<key>.json.gz`: names, shapes and dtypes of every model with a card at full size.

Run as `python -m tests.support.make_tensor_headers`, after a change of `architectures` or `wider_architectures`. A
fixture holds

- `config`: what the model's `config.json` says beyond its defaults;
- `file`: all tensors of the published file, `[name, shape, dtype]`;
- `base`, `head`: the tensors of the classes whose parameters the card counts;
- `tied`: name -> name of the tensor it repeats, as the class that saved the file declares it.
"""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.support.architectures import ARCHITECTURES, Architecture
from tests.support.build import build_model, make_config, state_as_published, state_as_saved
from tests.support.wider_architectures import WIDER_ARCHITECTURES

__all__ = ["FIXTURES", "make_fixture"]

FIXTURES = Path(__file__).parent.parent / "data" / "tensor_headers"
_UNTOLD = {"id2label", "label2id", "transformers_version"}
_DTYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.int64": "I64"}


def make_fixture(architecture: Architecture) -> dict[str, Any]:
    """The fixture of one model, built on the meta device."""
    config = make_config(architecture, architecture.saved, architecture.full)
    saved = build_model(architecture.saved, config, "meta")
    extras = [[name, list(shape), dtype] for name, shape, dtype in architecture.extras(config)]
    return {
        "config": {key: value for key, value in config.to_diff_dict().items() if key not in _UNTOLD},
        "file": _headers(state_as_published(saved, architecture), architecture.dtype) + extras,
        "base": _headers(state_as_saved(build_model(architecture.base, config, "meta")), architecture.dtype),
        "head": _headers(state_as_saved(build_model(architecture.head, config, "meta")), architecture.dtype),
        "tied": dict(sorted(saved.all_tied_weights_keys.items())),
    }


def _headers(state: dict[str, Any], dtype: str) -> list[list[Any]]:
    return [[name, list(tensor.shape), _dtype(tensor, dtype)] for name, tensor in state.items()]


def _dtype(tensor: Any, dtype: str) -> str:
    return dtype if tensor.is_floating_point() else _DTYPES[str(tensor.dtype)]


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for key, architecture in {**ARCHITECTURES, **WIDER_ARCHITECTURES}.items():
        text = json.dumps(make_fixture(architecture), separators=(",", ":"))
        # No time of writing in the file: the same architecture gives the same bytes.
        (FIXTURES / f"{key}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()

"""What comparing two models costs: seconds and peak memory, each pair in a process of its own.

    python -m benchmarks.relatedness.cost PATH PATH    # one pair: JSON

`benchmarks.lineage --cost` runs it on every pair it wants measured. Everything that `dna-zoo compare` does for the
weights is in the time: digests, a look for NaN, the comparison.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.parts.peak_memory import resident_mib
from benchmarks.population.symmetries import permutation
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.lineage import ModelWeights
from pipeline.lineage.compare import compare_weights
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader

if TYPE_CHECKING:
    from transformers import BertModel

__all__ = ["bert_base_pairs", "measure", "opened"]

ROOT = Path(__file__).parents[2]
NOISE = 0.5
"""Of each tensor's standard deviation: the copies correlate with 0.89."""


def main() -> None:
    """Compare two models and say what it took."""
    first, second = sys.argv[1:3]
    began, cpu = time.perf_counter(), time.process_time()
    with opened(first) as a, opened(second) as b:
        opening = time.perf_counter() - began
        found = compare_weights(a, b)
        weights = sum(spec.num_weights for spec in a.specs if spec.kind == "weight")
    took = {"s": time.perf_counter() - began, "opening s": opening, "cpu s": time.process_time() - cpu}
    known = {"r": found.correlation, "z": found.z, "verdict": found.verdict, "file order": found.in_file_order}
    print(json.dumps({"weights": weights} | took | {"peak MB": resident_mib("VmHWM") * 1.048576} | known))


def measure(first: str, second: str) -> dict[str, Any]:
    """What one comparison took, in a new process."""
    command = [sys.executable, "-m", "benchmarks.relatedness.cost", first, second]
    found: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return found


@contextmanager
def opened(name: str) -> Iterator[ModelWeights]:
    """The weights of a model, read when asked for."""
    with TemporaryDirectory() as home:
        files = fetch(ModelRequest(name=name), home=Path(home), offline=True)
        specs = extract(files).specs
    with WeightReader(files) as reader:
        yield ModelWeights(specs=specs, load=reader.matrix, config=files.config)


@contextmanager
def bert_base_pairs() -> Iterator[dict[str, tuple[str, str]]]:
    """Random weights of BERT-base's shapes, and whom they are compared with: kind -> folders, gone at the end."""
    with TemporaryDirectory() as folder:
        original = _saved(_random_bert(seed=0), Path(folder) / "original")
        others = {
            "noised": _noised(_random_bert(seed=0)),
            "noised, permuted": _permuted(_noised(_random_bert(seed=0))),
            "another seed": _random_bert(seed=1),
        }
        yield {kind: (original, _saved(model, Path(folder) / kind)) for kind, model in others.items()}


def _random_bert(*, seed: int) -> "BertModel":
    """Norms and biases vary as well, as trained ones do."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    model = BertModel(BertConfig())
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 1:
                tensor.add_(0.1 * torch.randn(tensor.shape))
    return model


def _noised(model: "BertModel") -> "BertModel":
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(NOISE * tensor.std() * torch.randn(tensor.shape, generator=generator))
    return model


def _permuted(model: "BertModel") -> "BertModel":
    import torch

    model.load_state_dict(permutation().permuted(model, generator=torch.Generator().manual_seed(1)))
    return model


def _saved(model: "BertModel", folder: Path) -> str:
    model.save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    main()

"""Nine checkpoints of an architecture whose names tell no role, one of them fine-tuned from another and permuted.

    python -m benchmarks.traced_networks

CPM-Ant is in `transformers`, and no rule of the zoo knows its names. Eight tiny models are trained from random weights
of their own on one task; the ninth is trained on from the first, and then put into another order by symmetries of its
network: residual units permuted and flipped, hidden units and heads permuted. All pairs are compared, by names alone
and with the wiring that is traced from the code.

Prints, and writes to `benchmarks/results/traced-networks.json`, the verdicts and the distances of the fingerprints.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.parts.scaffold import make_parser, write_results
from pipeline.analyse.signature import make_signature
from pipeline.fingerprint.fingerprint import measure_fingerprint
from pipeline.fingerprint.named_tensors import measure_named_tensors
from pipeline.lineage import ModelWeights
from pipeline.lineage.compare import compare_weights
from zoo.roles import describe_tensors
from zoo.tensors import TensorHeader
from zoo.tracing.traced import TracedWiring

__all__ = ["LENGTH", "VOCABULARY", "distance", "new_model", "permute", "train", "weights_of"]

WIDTH, HEADS, HEAD, HIDDEN, LAYERS, VOCABULARY, LENGTH = 48, 4, 12, 96, 3, 64, 8
ATTENTION = "self_att.self_attention"


def new_model(seed: int) -> Any:
    """A tiny CPM-Ant with random weights."""
    from transformers import CpmAntConfig, CpmAntForCausalLM

    torch.manual_seed(seed)
    sizes: dict[str, Any] = dict(hidden_size=WIDTH, num_attention_heads=HEADS, dim_head=HEAD, dim_ff=HIDDEN)
    sizes |= dict(num_hidden_layers=LAYERS, vocab_size=VOCABULARY, segment_types=4, prompt_types=4, prompt_length=4)
    return CpmAntForCausalLM(CpmAntConfig(**sizes, position_bias_num_buckets=32, position_bias_max_distance=64))


def train(model: Any, *, seed: int, steps: int, rate: float = 3e-3) -> Any:
    """The model after `steps` on tokens of which most follow from the one before; changed in place."""
    follows = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    frequency = 1 / torch.arange(1, VOCABULARY + 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    for _ in range(steps):
        ids = torch.multinomial(frequency.expand(16, -1), LENGTH, replacement=True, generator=generator)
        is_bound = torch.rand(ids.shape, generator=generator) < 0.8
        for place in range(1, LENGTH):
            ids[:, place] = torch.where(is_bound[:, place], follows[ids[:, place - 1]], ids[:, place])
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()


def permute(state: Mapping[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """The same function in another order: residual units and their signs, hidden units, heads."""
    rng = np.random.default_rng(seed)
    stream = torch.from_numpy(rng.permutation(WIDTH))
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], WIDTH).astype(np.float32))
    heads = torch.from_numpy(rng.permutation(HEADS))
    inside = (heads[:, None] * HEAD + torch.arange(HEAD)).reshape(-1)
    hidden = {str(layer): torch.from_numpy(rng.permutation(HIDDEN)) for layer in range(LAYERS)}
    found = {}
    for name, tensor in state.items():
        layer = name.split(".")[3] if ".layers." in name else ""
        if "layernorm" in name:
            new = tensor[stream]
        elif "relative_attention_bias" in name:
            new = tensor[:, heads]
        elif name.endswith(("attention_out.weight", "w_out.weight")):
            new = tensor[stream][:, hidden[layer] if "w_out" in name else inside] * signs[:, None]
        else:
            rows = hidden[layer] if ".w_in." in name else inside if ATTENTION in name else torch.arange(len(tensor))
            new = tensor[rows][:, stream] * signs
        found[name] = new.clone()
    return found


def weights_of(state: Mapping[str, torch.Tensor], wiring: TracedWiring | None) -> ModelWeights:
    """The state as the product reads it, by names and, where it is given, by wiring."""
    headers = [TensorHeader(name=name, shape=tuple(tensor.shape), dtype="F32") for name, tensor in state.items()]
    values = {name: tensor.detach().numpy().astype(np.float32) for name, tensor in state.items()}
    specs = describe_tensors(headers, wiring=wiring)

    def load(spec: Any) -> Any:
        own = values[spec.tensor]
        return np.ascontiguousarray(own.T if spec.transposed else own).reshape(spec.rows, spec.cols).copy()

    return ModelWeights(specs=specs, load=load, config={"num_attention_heads": HEADS})


def distance(a: ModelWeights, b: ModelWeights) -> float | None:
    """Of the fingerprints of two models."""
    from patterndb.similarity import align, weights_distance

    signatures = [make_signature([], measure_fingerprint(m.specs, lambda s, m=m: [m.load(s)]),  # type: ignore[misc]
                                 measure_named_tensors(m.specs, lambda s, m=m: [m.load(s)])) for m in (a, b)]  # type: ignore[misc]  # fmt: skip
    names, values = align(signatures)
    return weights_distance(names, *values)


def main() -> None:
    """Train, permute, compare."""
    from zoo.tracing.of_config import trace_config

    options = make_parser(__doc__, out="traced-networks").parse_args()
    models = [train(new_model(seed), seed=seed, steps=60) for seed in range(8)]
    wiring = trace_config(models[0].config.to_dict())
    states = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models]
    states.append(permute(train(models[0], seed=99, steps=10, rate=3e-4).state_dict(), seed=1))
    rows = []
    for how in (None, wiring):
        weights = [weights_of(state, how) for state in states]
        for i, j in itertools.combinations(range(9), 2):
            found = compare_weights(weights[i], weights[j])
            row = {"by": "names" if how is None else "tracing", "pair": [i, j], "is_related": (i, j) == (0, 8)}
            rows.append({**row, "verdict": found.verdict, "z": found.z, "distance": distance(weights[i], weights[j])})
    for row in rows:
        if row["is_related"] or row["verdict"] == "same lineage":
            print(json.dumps(row))
    for by in ("names", "tracing"):
        others = [row["distance"] for row in rows if row["by"] == by and not row["is_related"]]
        print(f"{by}: nearest of {len(others)} unrelated pairs at {min(d for d in others if d is not None):.3f}")
    write_results(options.out, {"pairs": rows})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

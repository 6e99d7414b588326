"""Another checkpoint of the same function: a BERT with its neurons, heads and signs shuffled.

R = residual width, A = heads times head width, F = inner units of the feed-forward pair, in `(out, in)` matrices.
"""

import torch

__all__ = ["permuted_bert"]

State = dict[str, torch.Tensor]


def permuted_bert(state: State, *, num_layers: int, num_heads: int, generator: torch.Generator) -> State:
    """The state of a `BertForMaskedLM` that computes what `state` computes, with every arbitrary order redrawn.

    One order of the residual stream for the whole model; per layer an order of the heads, an order and signs of the
    dimensions in each head (one for query and key, one for value and output), and an order of the inner units. Signs
    of the residual stream are not free: LayerNorm subtracts the mean over it.
    """
    state = {name: tensor.clone() for name, tensor in state.items()}
    for layer in range(num_layers):
        prefix = f"bert.encoder.layer.{layer}"
        _permute_attention(state, f"{prefix}.attention", num_heads, generator)
        _permute_ffn(state, prefix, generator)
    return _permute_residual(state, generator)


def _permute_attention(state: State, prefix: str, num_heads: int, generator: torch.Generator) -> None:
    size = state[f"{prefix}.self.query.weight"].shape[0]
    heads = torch.randperm(num_heads, generator=generator)
    for writers, readers in ((("query", "key"), ()), (("value",), (f"{prefix}.output.dense.weight",))):
        order = _order_within_heads(heads, size // num_heads, generator)
        signs = torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1.0
        for name in writers:
            weight, bias = f"{prefix}.self.{name}.weight", f"{prefix}.self.{name}.bias"
            state[weight] = state[weight][order] * signs[:, None]
            state[bias] = state[bias][order] * signs
        for name in readers:
            state[name] = state[name][:, order] * signs


def _order_within_heads(heads: torch.Tensor, head_dim: int, generator: torch.Generator) -> torch.Tensor:
    """Indices along A: the heads in the order given, the dimensions of each in an order of its own; (A,)."""
    return torch.cat([head * head_dim + torch.randperm(head_dim, generator=generator) for head in heads])


def _permute_ffn(state: State, prefix: str, generator: torch.Generator) -> None:
    order = torch.randperm(state[f"{prefix}.intermediate.dense.bias"].shape[0], generator=generator)
    for name in (f"{prefix}.intermediate.dense.weight", f"{prefix}.intermediate.dense.bias"):
        state[name] = state[name][order]
    state[f"{prefix}.output.dense.weight"] = state[f"{prefix}.output.dense.weight"][:, order]


def _permute_residual(state: State, generator: torch.Generator) -> State:
    order = torch.randperm(state["bert.embeddings.LayerNorm.weight"].shape[0], generator=generator)
    return {name: _permute_residual_axes(name, tensor, order) for name, tensor in state.items()}


def _permute_residual_axes(name: str, tensor: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    if name.endswith(("_embeddings.weight", "decoder.weight")):
        return tensor[:, order]
    if "LayerNorm" in name or name.endswith("output.dense.bias"):
        return tensor[order]
    if name.endswith("output.dense.weight"):
        return tensor[order]
    if name.endswith(("query.weight", "key.weight", "value.weight", "intermediate.dense.weight")):
        return tensor[:, order]
    if name.endswith("transform.dense.weight"):
        return tensor[order][:, order]
    if name.endswith("transform.dense.bias"):
        return tensor[order]
    return tensor  # Biases along A, F and the vocabulary.

"""A DNA with its numbers rounded to a few bits, and what a DNA costs."""

from dataclasses import replace

import torch

from dna_zoo.errors import NotMinedError, SettingsError
from dna_zoo.text import shell_word
from library.rebuild.source import MinedModel
from pipeline.dna.contents import KeptNetwork
from pipeline.dna.decoder import build_network
from pipeline.dna.dna import Dna
from pipeline.fit.baselines import ROUNDED_BITS
from pipeline.fit.quantise import quantise, stored_bits

__all__ = ["dna_bits", "require_width", "rounded_dna"]

LEAST_BITS, MOST_BITS = 2, 16


def require_width(bits: int) -> None:
    """Raise `SettingsError` for a width that weights of a network cannot have."""
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise SettingsError(f"`--bits` is {bits}.", hint=f"Give a number from {LEAST_BITS} to {MOST_BITS}.")


def rounded_dna(dna: Dna, bits: int) -> Dna:
    """The same DNA with the weights of its networks at `bits` bits (`pipeline.fit.quantise`)."""
    require_width(bits)
    contents = dna.contents
    networks = tuple(_rounded(kept, dna, bits) for kept in contents.networks)
    return Dna(contents=replace(contents, networks=networks))


def _rounded(kept: KeptNetwork, dna: Dna, bits: int) -> KeptNetwork:
    """Each network of the stack is rounded by itself, as in the fit report."""
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in kept.state}
    for slot in range(_num_networks(kept)):
        codes = quantise(build_network(kept, dna.settings, slot), bits)
        for name, values in parts.items():
            values.append(codes[name].values if name in codes else kept.state[name][slot : slot + 1])
    return replace(kept, state={name: torch.cat(values) for name, values in parts.items()})


def _num_networks(kept: KeptNetwork) -> int:
    return len(next(iter(kept.state.values())))


def dna_bits(model: MinedModel, bits: int | None) -> dict[str, float]:
    """What is stored of each matrix, in bits, by name: network, means, scale and order.

    - `bits`: width of the network's weights; None for float32.

    It is what the fit report counted: of one network for the model each matrix has its share. Raises `NotMinedError`
    where an old fit has no report at 8 bits, which other widths follow from.
    """
    fits = model.fits()
    if bits is None:
        return {name: fit.bits_per_weight * fit.num_weights for name, fit in fits.items()}
    found = {}
    weights = sum(fit.num_weights for fit in fits.values())
    more: dict[int, float] = {}
    for tensor in model.dna.contents.tensors:
        fit = fits[tensor.spec.name]
        if fit.bits_per_weight_8bit is None:
            raise NotMinedError(
                f"{model.key!r} was mined by a version that did not count the bits of a rounded DNA.",
                hint=f"Mine it again: `dna-zoo mine {shell_word(model.key)} --force`.",
            )
        if tensor.network not in more:
            more[tensor.network] = _more_bits(model.dna, model.dna.contents.networks[tensor.network], bits)
        share = fit.num_weights / weights if model.dna.settings.scope == "model" else 1.0
        found[tensor.spec.name] = fit.bits_per_weight_8bit * fit.num_weights + share * more[tensor.network]
    return found


def _more_bits(dna: Dna, kept: KeptNetwork, bits: int) -> float:
    """What one network of the stack takes more with this width than with the report's."""
    if bits == ROUNDED_BITS:
        return 0.0
    net = build_network(kept, dna.settings, 0)
    return stored_bits(quantise(net, bits)) - stored_bits(quantise(net, ROUNDED_BITS))

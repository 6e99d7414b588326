"""How the numbers of a report were made: versions, settings, nulls and seeds, as a paragraph and a table; citation."""

from collections.abc import Sequence

from dna_zoo import __version__
from patterndb.records import PatternRecord

__all__ = ["BIBTEX", "CITATION", "methods_of", "settings_rows"]

CITATION = (
    f"dna-zoo, version {__version__}: structure in the weights of pretrained models, with a null beside every number."
)
BIBTEX = f"""@software{{dna_zoo,
  title   = {{dna-zoo: structure in the weights of pretrained models}},
  author  = {{{{The dna-zoo authors}}}},
  version = {{{__version__}}},
  license = {{Apache-2.0}}
}}
"""
VERSIONS = ("dna_zoo", "torch", "numpy", "python")
FIT = ("dna_type", "scope", "order", "budget", "epochs", "optimizer", "learning_rate", "num_nulls")


def methods_of(patterns: Sequence[PatternRecord]) -> str:
    """A paragraph that a paper could have."""
    first = patterns[0]
    fit, seeds = first.settings.get("fit", {}), sorted({str(each.settings.get("seed")) for each in patterns})
    nulls = sorted({each.num_nulls for each in patterns})
    versions = ", ".join(f"{name.replace('_', '-')} {first.provenance.get(name, 'unknown')}" for name in VERSIONS)
    return (
        f"Weights of {len(patterns)} model{'s' * (len(patterns) != 1)} were mined by {versions}"
        f"{'' if len(patterns) == 1 else ' (the first of them; see the table)'}. Rows and columns of every matrix were "
        "brought into a canonical order; one coordinate network (DNA) was fitted to each "
        f"(kind {fit.get('dna_type')}, {fit.get('epochs')} epochs, {fit.get('num_nulls')} null fits). Every statistic "
        f"was compared with {_listed(nulls)} draws of its null: copies with shuffled values, with shuffled values and "
        "the means of rows and columns kept, with rotated singular vectors, with normal random values, or with another "
        "order, each processed as the weights were. P-values of a model are over recombinations of its tensors' draws; "
        "q-values are of Benjamini and Hochberg over all statistics of one model, and a finding has q <= 0.05. Tests "
        f"across models permute labels between independent lineages. Random seed: {', '.join(seeds)}."
    )


def _listed(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def settings_rows(patterns: Sequence[PatternRecord]) -> list[list[str]]:
    """A row a model: run, versions, seed, draws and the fit's main settings; the heading first."""
    head = ["model", "run", *VERSIONS, "device", "seed", "draws", *FIT]
    return [head, *(_settings_row(each) for each in patterns)]


def _settings_row(pattern: PatternRecord) -> list[str]:
    fit = pattern.settings.get("fit", {})
    return [
        pattern.model.key,
        pattern.run,
        *(str(pattern.provenance.get(name, "–")) for name in VERSIONS),
        "–" if pattern.fit is None else pattern.fit.device,
        str(pattern.settings.get("seed", "–")),
        str(pattern.num_nulls),
        *(str(fit.get(name, "–")) for name in FIT),
    ]

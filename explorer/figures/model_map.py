"""Models as points: those whose statistics are alike lie near each other, whoever's weights they have."""

from collections.abc import Sequence

import numpy as np

from dna_zoo.errors import SettingsError
from explorer.leaves import entries_of
from explorer.map_view import MapView, words_of
from explorer.map_view import draw_map as plot_model_map
from explorer.map_view import map_page as model_map_page
from explorer.maps import agreement, make_map
from explorer.source import Source
from patterndb.records import ModelRecord
from patterndb.similarity import align, kind_distances
from pipeline.analyse.lineage_groups import find_related, group_lineages, leave_out_fingerprint

__all__ = ["FACETS", "model_map_page", "model_map_view", "plot_model_map"]

FACETS = ("architecture", "modality", "family", "objective", "specialty")
UNKNOWN = "not declared"


def model_map_view(source: Source, models: Sequence[str] = (), *, by: str = "architecture", seed: int = 0) -> MapView:
    """A map of these models by their signatures, of all models if none is named; whose weights they are plays no part.

    - `by`: the facet that colours and the agreement are about.

    Raises `NotMinedError`, `StoreError` for signatures of different versions, and `SettingsError` for fewer than three
    models or another facet.
    """
    if by not in FACETS:
        raise SettingsError(f"There is no facet {by!r}.", hint=f"Choose one of: {', '.join(FACETS)}.")
    entries = entries_of(source, models)
    if len(entries) < 3:
        raise SettingsError(
            f"A map needs three models, and there {'is' if len(entries) == 1 else 'are'} {len(entries)}.",
            hint="Name more models, or mine more; without names all models are drawn.",
        )
    names, values = align([entry.signature for entry in entries])
    lineages = group_lineages([entry.model for entry in entries], find_related(names, values)).lineages
    kept, shown = leave_out_fingerprint(names, values)
    found = make_map(shown, lambda each: kind_distances(kept, each), seed=seed)
    labels = [_label(entry.model, by) for entry in entries]
    agreed = agreement(found, labels, lineages.tolist(), seed=seed)
    count, known = len(set(lineages.tolist())), int((np.isfinite(shown).sum(axis=0) > 1).sum())
    what = (
        f"{len(entries)} models of {count} lineages by {known:,} statistics of their signatures, without the "
        f"fingerprint; labels are permuted between lineages."
    )
    caption, alt = words_of(found, agreed, label=by, point="models", what=what)
    keys = tuple(entry.model.key for entry in entries)
    return MapView(
        kind="model-map",
        subject=keys,
        title="Models by their statistics",
        subtitle=f"{len(entries)} models, coloured by {by}",
        caption=caption,
        alt=alt,
        n=len(entries),
        settings={**found.settings, "method": found.method, "by": by, "num_lineages": count},
        names=keys,
        models=keys,
        labels=tuple(label or UNKNOWN for label in labels),
        label=by,
        point="models",
        places=found.places,
        found=found,
        agreement=agreed,
    )


def _label(model: ModelRecord, facet: str) -> str | None:
    found: str | None = getattr(model, facet)
    return found

"""From what a fit leaves to the contents of a DNA file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dna_zoo import __version__
from pipeline.dna.contents import DnaContents, KeptNetwork, KeptTensor, KeptTie
from pipeline.fit.problem import depth_coordinate, role_coordinate
from pipeline.fit.report import FitCost, TensorFit, report
from pipeline.fit.separable import first_omegas
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.stage import fit_version
from pipeline.order import ORDER_PARTS, ORDER_VERSION, CanonicalOrder, raw_order
from pipeline.settings import FitSettings
from zoo.layout import Layout
from zoo.tensors import TensorKind, TensorSpec

__all__ = ["REPORTED", "dna_contents", "shuffled_contents"]

REPORTED = ("num_weights", "parameters", "bits_per_weight", "order_bits_per_weight", "r2", "null_r2", "means_null_r2")
"""What the file keeps of the fit report."""
OF_TENSOR = ("r2", "null_r2", "means_null_r2")


def dna_contents(
    networks: Sequence[Mapping[str, Any]],
    fits: Sequence[TensorFit],
    settings: FitSettings,
    *,
    specs: Sequence[TensorSpec],
    orders: Mapping[str, CanonicalOrder],
    layouts: Mapping[str, Layout],
    model: str,
    digest: str,
    has_layouts: bool = True,
) -> DnaContents:
    """The contents of a fit.

    - `networks`, `fits`: of the fit's result, or `networks` of a file of format 2;
    - `specs`: all tensors of the model, second copies too; `orders` and `layouts`: by the name of a spec, of each that
      is fitted, and the layouts of their copies.
    """
    by_name, fitted = {spec.name: spec for spec in specs}, {fit.name: fit for fit in fits}
    tensors = [
        _kept_tensor(known, by_name[known["name"]], orders, layouts, fitted.get(known["name"]), settings, number, slot)
        for number, stack in enumerate(networks)
        for slot, known in enumerate(stack["tensors"])
    ]
    places = {spec.name: place for place, spec in enumerate(specs)}
    names = {tensor.spec.name for tensor in tensors}
    return DnaContents(
        model=model,
        digest=digest,
        settings=settings,
        versions={"dna_zoo": __version__, "fit": fit_version(settings), "order": ORDER_VERSION},
        networks=tuple(_kept_network(stack, settings) for stack in networks),
        tensors=tuple(sorted(tensors, key=lambda tensor: places[tensor.spec.name])),
        ties=tuple(
            KeptTie(layout=layouts[spec.name], of=spec.tied_to)
            for spec in specs
            if spec.kind is TensorKind.TIED and spec.tied_to in names
        ),
        reported=_reported(fits, settings, REPORTED),
        has_layouts=has_layouts,
    )


def shuffled_contents(
    networks: Sequence[Mapping[str, Any]],
    settings: FitSettings,
    *,
    specs: Sequence[TensorSpec],
    model: str,
    digest: str,
) -> DnaContents:
    """The DNA of the shuffled copies that a fit has trained (`FitResult.shuffled`): each "file" is a copy as drawn."""
    names = {known["name"] for stack in networks for known in stack["tensors"]}
    fitted = {spec.name: spec for spec in specs if spec.name in names}
    orders = {
        known["name"]: _drawn_order(known, fitted[known["name"]]) for stack in networks for known in stack["tensors"]
    }
    return dna_contents(
        networks,
        (),
        settings,
        specs=tuple(fitted.values()),
        orders=orders,
        layouts={name: Layout.of(spec, (spec.rows, spec.cols)) for name, spec in fitted.items()},
        model=f"shuffled {model}",
        digest=digest,
    )


def _drawn_order(known: Mapping[str, Any], spec: TensorSpec) -> CanonicalOrder:
    """In which a copy was put after it was drawn."""
    parts = {name: known[f"order_{name}"].numpy() for name in ORDER_PARTS if f"order_{name}" in known}
    if not parts:
        return raw_order(spec.rows, spec.cols)
    return CanonicalOrder(**parts, sorted_rows=spec.row_axis.is_permutable, sorted_cols=spec.col_axis.is_permutable)


def _kept_tensor(
    known: Mapping[str, Any],
    spec: TensorSpec,
    orders: Mapping[str, CanonicalOrder],
    layouts: Mapping[str, Layout],
    fit: TensorFit | None,
    settings: FitSettings,
    network: int,
    slot: int,
) -> KeptTensor:
    reported = _reported([fit] if fit else [], settings, OF_TENSOR)
    return KeptTensor(
        spec=spec,
        layout=layouts[spec.name],
        network=network,
        slot=0 if settings.scope == "model" else slot,
        place=(depth_coordinate(spec), role_coordinate(spec)),
        order=_moved_order(orders[spec.name], known),
        mean=known["mean"],
        scale=known["scale"],
        row_means=_numbers(known, "row_means"),
        col_means=_numbers(known, "col_means"),
        **reported,
    )


def _reported(fits: Sequence[TensorFit], settings: FitSettings, names: Sequence[str]) -> dict[str, float | None]:
    """Figures of these tensors together; None for what is not known, and for what JSON has no number for."""
    # What the fit cost enters none of them.
    record = report(fits, settings, FitCost(device="cpu", steps=0, seconds=0.0)) if fits else None
    found = {name: getattr(record, name, None) for name in names}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in found.items()}


def _numbers(known: Mapping[str, Any], name: str) -> Any:
    """Means that were bought, where the fit moved the rows and columns they belong to."""
    if name not in known:
        return None
    values, places = known[name].numpy(), known.get(f"{name[:3]}_places")
    return values if places is None else values[places.numpy()]


def _moved_order(order: CanonicalOrder, known: Mapping[str, Any]) -> CanonicalOrder:
    """The order of the networks: the canonical one, and then the moves of the fit."""
    places = [known.get(f"{axis}_places") for axis in ("row", "col")]
    rows, cols = (slice(None) if found is None else found.numpy().astype(np.int64) for found in places)
    return CanonicalOrder(
        rows=order.rows[rows],
        cols=order.cols[cols],
        row_signs=None if order.row_signs is None else order.row_signs[rows],
        col_signs=None if order.col_signs is None else order.col_signs[cols],
        sorted_rows=order.sorted_rows,
        sorted_cols=order.sorted_cols,
    )


def _kept_network(stack: Mapping[str, Any], settings: FitSettings) -> KeptNetwork:
    """A stack as the fit leaves it, with the frequencies that its build chose."""
    size = NetworkSize(**{name: stack[name] for name in ("hidden_dim", "num_layers", "rank", "num_branches")})
    is_separable, is_shared = settings.dna_type == "separable", settings.scope == "model"
    in_dim = (1 if is_separable else 2) + (2 if is_shared else 0)
    omegas: tuple[float | None, float | None] = (None, None)
    if is_separable:
        shapes = [(tensor["rows"], tensor["cols"]) for tensor in stack["tensors"]]
        counts = {shape: shapes.count(shape) if is_shared else 1 for shape in shapes}
        omegas = first_omegas([(count, *shape) for shape, count in counts.items()], in_dim, size, settings)
    return KeptNetwork(size=size, in_dim=in_dim, row_omega=omegas[0], col_omega=omegas[1], state=stack["state"])

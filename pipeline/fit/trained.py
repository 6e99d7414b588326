"""A stack at the end of its training: what it says of its tensors, and what is kept of its networks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.fit.networks import count_parameters
from pipeline.fit.point_errors import point_errors
from pipeline.fit.prepare import PreparedProblem
from pipeline.fit.problem import Permutable
from pipeline.fit.quantise import decoded, quantise, stored_bits
from pipeline.fit.report import Errors, Quantised, TensorFit
from pipeline.fit.sizing import MOMENTS
from pipeline.fit.slots import FIT_NULLS
from pipeline.fit.stacks import Stack
from pipeline.fit.versions import Measured
from pipeline.nulls import NullKind
from pipeline.order import ORDER_PARTS
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["TrainedStack"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedStack:
    """The networks of a stack, and what they were trained on."""

    stack: Stack
    prepared: PreparedProblem
    net: nn.Module
    settings: FitSettings
    seed: int

    def fits(self, order_bits: Mapping[str, float], widths: Sequence[int]) -> list[TensorFit]:
        """The report of each tensor.

        - `order_bits`: what its order costs, by name;
        - `widths`: bits of a weight at which its DNA is measured again.
        """
        parameters = count_parameters(self.net)
        all_errors = self._errors(self.net)
        all_quantised = self._quantised(widths)
        fits = []
        for index, (spec, known) in enumerate(zip(self.stack.specs, self.prepared.tensors, strict=True)):
            errors = all_errors[index]
            baselines = {
                kind: tuple(null.baseline for _, null in self.prepared.versions_of(index, kind)) for kind in FIT_NULLS
            }
            fits.append(
                TensorFit(
                    name=spec.name,
                    role=spec.role.value,
                    rows=spec.rows,
                    cols=spec.cols,
                    parameters=self._share(spec) * parameters + MOMENTS + known.units.numbers,
                    order_bits=order_bits[spec.name],
                    std=known.moments.std,
                    low=known.moments.low,
                    high=known.moments.high,
                    additive_numbers=round(known.additive[0]),
                    additive_energy=known.additive[1],
                    errors=errors[None][0],
                    null_errors=errors["shuffle"],
                    means_null_errors=errors["means"],
                    baseline=known.baseline,
                    null_baselines=baselines["shuffle"],
                    means_null_baselines=baselines["means"],
                    quantised=tuple(all_quantised[index]),
                )
            )
        return fits

    def _quantised(self, widths: Sequence[int]) -> list[list[Quantised]]:
        """For each tensor its DNA at every width; its means are stored at their own."""
        found: list[list[Quantised]] = [[] for _ in self.stack.specs]
        for width in widths:
            codes = quantise(self.net, width)
            bits = stored_bits(codes)
            with decoded(self.net, codes) as rounded:
                all_errors = self._errors(rounded)
            for spec, known, errors, parts in zip(
                self.stack.specs, self.prepared.tensors, all_errors, found, strict=True
            ):
                parts.append(
                    Quantised(
                        width=width,
                        bits=self._share(spec) * bits + known.units.bits,
                        sse=errors[None][0].sse,
                        null_sse=tuple(each.sse for each in errors["shuffle"]),
                    )
                )
        return found

    def _share(self, spec: TensorSpec) -> float:
        """The part of a network that stands for the tensor."""
        if self.settings.scope == "tensor":
            return 1.0
        return spec.num_weights / sum(each.num_weights for each in self.stack.specs)

    def _errors(self, net: nn.Module) -> list[dict[NullKind | None, tuple[Errors, ...]]]:
        """For each tensor its own errors, and those of the draws of each null."""
        by_place: dict[tuple[int, int], Errors] = {}
        prepared = self.prepared
        for part in range(prepared.problem.num_parts):
            known = [row[part] for row in prepared.measured]
            for number, errors in enumerate(point_errors(prepared.problem, net, part, known, self.seed)):
                by_place[number, prepared.slots[number].tensors[part]] = errors
        kinds: tuple[NullKind | None, ...] = (None, *FIT_NULLS)
        return [
            {kind: tuple(by_place[number, index] for number, _ in prepared.versions_of(index, kind)) for kind in kinds}
            for index in range(len(self.stack.specs))
        ]

    def networks(self, kind: NullKind | None = None) -> dict[str, Any]:
        """The trained networks of the tensors, or of the first draw of the null `kind` of each of them, as plain
        containers and CPU tensors; with scope `model` it is one network."""
        slots = self.prepared.slots
        numbers = [number for number, slot in enumerate(slots) if (slot.kind, slot.draw) == (kind, 0)]
        places = [(number, part) for number in numbers for part in range(len(slots[number].tensors))]
        return {
            **asdict(self.stack.size),
            "tensors": [
                {
                    "name": spec.name,
                    "rows": spec.rows,
                    "cols": spec.cols,
                    "role": spec.role.value,
                    "depth": spec.depth,
                    "mean": known.units.mean,
                    "scale": known.units.scale,
                }
                | _means(known)
                | self._permutations(number, part)
                | _order(known)
                for number, part in places
                for spec, known in [self._at(number, part)]
            ],
            "state": {name: value[numbers].cpu() for name, value in self.net.state_dict().items()},
        }

    def _at(self, number: int, part: int) -> tuple[TensorSpec, Measured]:
        """Which tensor a part of a slot is of, and what is known of this version of it."""
        return self.stack.specs[self.prepared.slots[number].tensors[part]], self.prepared.measured[number][part]

    def _permutations(self, number: int, part: int) -> dict[str, Tensor]:
        """Row and column of the canonical tensor at each position of the network, where the fit moves them (int32)."""
        problem = self.prepared.problem
        if not isinstance(problem, Permutable):
            return {}
        rows, cols = problem.permutations_of(part, number)
        return {"row_places": rows.to(torch.int32).clone(), "col_places": cols.to(torch.int32).clone()}


def _order(known: Measured) -> dict[str, Tensor]:
    """The order that a null was put in, part by part."""
    parts = {} if known.order is None else {f"order_{name}": getattr(known.order, name) for name in ORDER_PARTS}
    return {name: torch.from_numpy(values) for name, values in parts.items() if values is not None}


def _means(known: Measured) -> dict[str, Tensor]:
    """The means that the DNA has bought, of canonical rows and columns, float32."""
    pairs = {"row_means": known.units.rows, "col_means": known.units.cols}
    return {name: torch.from_numpy(means) for name, means in pairs.items() if means is not None}

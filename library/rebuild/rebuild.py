"""Write a model with its matrices replaced by their DNA into a folder that transformers loads."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from library.rebuild.card import card_of
from library.rebuild.matrices import RebuiltMatrices, RebuiltTensor, Request
from library.rebuild.source import MinedModel
from library.rebuild.stored import StoredModel, parts_of
from library.rebuild.write import write_folder
from pipeline.weights.reader import WeightReader

__all__ = ["REPORT_FILE", "Rebuilt", "RoleOfRebuilt", "rebuild", "summary_of"]

REPORT_FILE = "rebuilt.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was written."""

    model: str
    run: str
    folder: Path
    request: Request
    budget: float
    tensors: tuple[RebuiltTensor, ...]
    copied: tuple[str, ...]
    """Stored tensors that are as they were."""
    copied_weights: int
    kept: tuple[str, ...] = ()
    """Matrices that the DNA holds and that were not asked for."""

    @property
    def roles(self) -> "tuple[RoleOfRebuilt, ...]":
        """In the order of the files."""
        names = dict.fromkeys(tensor.role for tensor in self.tensors)
        return tuple(RoleOfRebuilt.of([each for each in self.tensors if each.role == role]) for role in names)

    @property
    def num_weights(self) -> int:
        """Weights that are replaced."""
        return sum(tensor.num_weights for tensor in self.tensors)

    @property
    def bits(self) -> float:
        return math.fsum(tensor.bits for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        return self.bits / self.num_weights

    @property
    def r2(self) -> float:
        """Of what stands in the folder, before it was rounded to the format of the files."""
        return _pooled_r2(self.tensors)

    @property
    def reported_r2(self) -> float:
        """Of the fit report, for the DNA in float32 and without a residual."""
        return _weighted([(tensor.energy, tensor.reported_r2) for tensor in self.tensors])

    @property
    def null_r2(self) -> float | None:
        """Of the same fit of shuffled copies, DNA in float32 and without a residual; None without nulls."""
        return _pooled_null(self.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOfRebuilt:
    """The replaced matrices of one role together."""

    role: str
    matrices: int
    weights: int
    bits: float
    r2: float
    null_r2: float | None

    @classmethod
    def of(cls, tensors: Sequence[RebuiltTensor]) -> "RoleOfRebuilt":
        return cls(
            role=tensors[0].role,
            matrices=len(tensors),
            weights=sum(each.num_weights for each in tensors),
            bits=math.fsum(each.bits for each in tensors),
            r2=_pooled_r2(tensors),
            null_r2=_pooled_null(tensors),
        )


def _pooled_null(tensors: Sequence[RebuiltTensor]) -> float | None:
    parts = [(tensor.energy, tensor.null_r2) for tensor in tensors if tensor.null_r2 is not None]
    return _weighted(parts) if len(parts) == len(tensors) else None


def _pooled_r2(tensors: Sequence[RebuiltTensor]) -> float:
    """R2 of these matrices together, errors and energies added up."""
    return 1 - math.fsum(each.error for each in tensors) / max(math.fsum(each.energy for each in tensors), 1e-300)


def _weighted(parts: list[tuple[float, float]]) -> float:
    return math.fsum(weight * value for weight, value in parts) / max(math.fsum(weight for weight, _ in parts), 1e-300)


def rebuild(model: MinedModel, out: Path, request: Request | None = None, *, force: bool = False) -> Rebuilt:
    """Write the folder, which is there when it is complete. Raises as `new_folder` and `RebuiltMatrices`."""
    request = request or Request()
    with WeightReader(model.files) as reader:
        matrices = RebuiltMatrices(model, reader, request)
        stored = StoredModel(reader=reader, parts=parts_of(model.dna), matrices=matrices)
        copied = {name: prod(each.header.shape) for name, each in stored.tensors.items() if name not in stored.replaced}
        found: list[Rebuilt] = []

        def files() -> Mapping[str, str]:
            """Once all weights are written, and measured as they were."""
            found.append(
                Rebuilt(
                    model=model.key,
                    run=model.pattern.run,
                    folder=out.absolute(),
                    request=request,
                    budget=model.budget,
                    tensors=tuple(matrices.measured[name] for name in matrices),
                    copied=tuple(copied),
                    copied_weights=sum(copied.values()),
                    kept=tuple(name for name in model.dna if name not in matrices),
                )
            )
            report = json.dumps(summary_of(found[0]), indent=1, allow_nan=False) + "\n"
            return {"README.md": card_of(found[0], model.pattern.model), REPORT_FILE: report}

        write_folder(out, stored, config=model.files.config, source=model.folder, files=files, force=force)
        return found[0]


def summary_of(rebuilt: Rebuilt) -> dict[str, object]:
    """What `rebuild --format json` prints and the folder holds; docs/json.md documents it."""
    return {
        "model": rebuilt.model,
        "run": rebuilt.run,
        "folder": str(rebuilt.folder),
        "budget": rebuilt.budget,
        "bits": rebuilt.request.bits,
        "residual_bits": rebuilt.request.residual_bits,
        "weights": rebuilt.num_weights,
        "copied_weights": rebuilt.copied_weights,
        "stored_bits": rebuilt.bits,
        "bits_per_weight": rebuilt.bits_per_weight,
        "r2": rebuilt.r2,
        "reported_r2": rebuilt.reported_r2,
        "null_r2": rebuilt.null_r2,
        "tensors": [
            {
                "name": each.name,
                "role": each.role,
                "rows": each.rows,
                "cols": each.cols,
                "bits": each.bits,
                "r2": each.r2,
                "reported_r2": each.reported_r2,
                "null_r2": each.null_r2,
            }
            for each in rebuilt.tensors
        ],
        "copied": list(rebuilt.copied),
    }

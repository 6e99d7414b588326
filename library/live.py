"""The parameters of a live module as matrix views, to read and to write."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dna_zoo.errors import LibraryError
from library.patterns.measure import ModelTensors
from library.patterns.views import View, matrix_views
from pipeline.dna.stored import DTYPES
from zoo.roles import describe_tensors
from zoo.tensors import TensorHeader, TensorSpec

__all__ = ["LiveTensors"]

NAMES = {dtype: name for name, dtype in DTYPES.items()}


class LiveTensors:
    """The parameters of a module that is in memory. What is stored through it changes the module.

    Raises `LibraryError` for a module whose parameters have no values yet.
    """

    def __init__(self, model: nn.Module) -> None:
        _require_values(model)
        self.config = _settings_of(getattr(model, "config", None))
        self._state: dict[str, torch.Tensor] = dict(model.state_dict())
        trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        headers = [
            TensorHeader(name=name, shape=tuple(value.shape), dtype=NAMES.get(value.dtype, "I64"))
            for name, value in self._state.items()
            if name in trained
        ]
        self._shapes = {header.name: header.shape for header in headers}
        self.specs: Sequence[TensorSpec] = describe_tensors(headers, self.config, shared=dict(self._shared(trained)))

    def _shared(self, trained: Collection[str]) -> Iterator[tuple[str, str]]:
        """Name -> first name of the same storage."""
        first: dict[int, str] = {}
        for name, value in self._state.items():
            if name in trained and first.setdefault(value.data_ptr(), name) != name:
                yield name, first[value.data_ptr()]

    @property
    def tensors(self) -> ModelTensors:
        """For `measure_model`."""
        return ModelTensors(specs=self.specs, load=self.load, shapes=self._shapes, config=self.config)

    def shape_of(self, tensor: str) -> tuple[int, ...]:
        return self._shapes[tensor]

    def load(self, spec: TensorSpec) -> npt.NDArray[np.float32]:
        """The matrix view (rows, cols), a copy."""
        view = self._window(spec).detach().to(device="cpu", dtype=torch.float32)
        return np.array(view.numpy()).reshape(spec.rows, spec.cols)

    def view(self, spec: TensorSpec) -> View:
        return next(iter(matrix_views([spec], self.load, self.shape_of)))

    def store(self, view: View) -> None:
        """Write the values of a view back."""
        window = self._window(view.spec)
        values = torch.from_numpy(view.values)
        if view.entries is not None:
            window.view(-1)[torch.from_numpy(view.entries)] = values.reshape(-1).to(window)
        else:
            window.copy_(values.reshape(window.shape))

    def _window(self, spec: TensorSpec) -> torch.Tensor:
        """The part of the parameter that a spec describes, sharing its memory."""
        value = self._state[spec.tensor]
        if not (spec.transposed or spec.row_slice):
            return value
        value = value if value.ndim == 2 else value.squeeze()
        value = value.T if spec.transposed else value
        if spec.row_slice is None:
            return value
        period = spec.row_period or len(value)
        return value.view(-1, period, value.shape[-1])[:, slice(*spec.row_slice)]


def _require_values(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if is_lazy(parameter) or parameter.is_meta:
            raise LibraryError(
                f"{name!r} of the model has no values yet, so nothing can be written into it.",
                hint="Give the model memory first: run it once, or build it outside of `torch.device('meta')`.",
            )


def _settings_of(config: Any) -> dict[str, Any]:
    """The settings of a configuration, whatever a library keeps them in; none where it keeps none."""
    if callable(getattr(config, "to_dict", None)) and not isinstance(config, type):
        return dict(config.to_dict())
    if isinstance(config, Mapping):
        return dict(config)
    if is_dataclass(config) and not isinstance(config, type):
        return asdict(config)
    return dict(getattr(config, "__dict__", {})) if not isinstance(config, type) else {}

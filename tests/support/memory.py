"""Bytes that live at once, counted as torch allocates them."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.prepare import prepare
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.trainer import Trainer
from pipeline.nulls import ordinals_of
from pipeline.settings import FitSettings
from tests.support.fitting import gaussian
from zoo.tensors import TensorSpec


class _Alive(TorchDispatchMode):
    """Sums the storages that operations made and that still live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.known:
            return
        self.known.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak_of(work: Callable[[], object]) -> int:
    """Of what is made in there."""
    with _Alive() as alive:
        work()
    return alive.peak


def peak_of_fit(spec: TensorSpec, settings: FitSettings, size: NetworkSize) -> int:
    """Of one matrix and its nulls, in no shards."""
    matrix = gaussian(spec.rows, spec.cols)
    with _Alive() as alive:
        problem = prepare(
            [spec], lambda _: matrix, settings, seed=0, ordinals=ordinals_of([spec]), device=torch.device("cpu")
        ).problem
        if isinstance(problem, PointwiseProblem):
            problem.is_sharded = False
        net = problem.build(size, settings, [generator_for(slot) for slot in range(problem.num_slots)])
        labels = [""] * problem.num_slots
        Trainer(problem, net, settings, seed=0, labels=labels, num_real=1, total_steps=4).run()
        with torch.no_grad():
            for values, predicted in problem.predictions(net, 0, 0):
                torch.stack([(values - predicted).square(), (values - predicted).abs()]).sum(dim=2)
    return alive.peak + 4 * 2 * spec.num_weights

"""Which pictures a tab shows: of the kinds that there are, by what they are about."""

from collections.abc import Mapping, Sequence

from explorer.dashboard.board import Board, Request
from explorer.dashboard.state import State, TabName
from explorer.kinds import KINDS, FigureKind
from patterndb.records import PatternRecord, TensorRecord

__all__ = ["MOST_MODELS", "MOST_SIDE_BY_SIDE", "best_tensor", "kind_of", "kinds_of", "requests_of", "tensors_of"]

SUBJECTS: Mapping[TabName, tuple[str, ...]] = {
    "overview": ("models",),
    "models": ("tensor", "model"),
    "comparisons": ("models", "tensor", "model"),
    "taxonomy": ("models",),
    "statistics": ("models", "model"),
}
"""Tab -> what its kinds of figures may be about."""
PREFERRED: Mapping[TabName, tuple[str, ...]] = {
    "overview": ("class-scores", "gain", "similarity"),
    "models": ("singular-values",),
    "comparisons": ("similarity",),
    "taxonomy": ("tree",),
    "statistics": ("gain", "questions"),
}
"""Tab -> kinds that it shows unless another is chosen, the first that there is."""
MOST_SIDE_BY_SIDE = 4
MOST_MODELS = 60
"""Models of one picture: beyond, no label can be read."""


def kinds_of(tab: TabName) -> tuple[FigureKind, ...]:
    """The kinds that the tab offers, in the order of its subjects."""
    return tuple(kind for subject in SUBJECTS[tab] for kind in KINDS.values() if kind.subject == subject)


def kind_of(state: State) -> FigureKind | None:
    """The kind that is chosen, else the tab's own; None if there is none for it."""
    offered = {kind.name: kind for kind in kinds_of(state.tab)}
    own = next((name for name in PREFERRED[state.tab] if name in offered), next(iter(offered), ""))
    return offered.get(state.kind) or offered.get(own)


def requests_of(state: State, board: Board) -> tuple[Request, ...]:
    """The pictures of the state: one for each model where the kind is about one model."""
    kind, keys = kind_of(state), [pattern.model.key for pattern in board.catalog().in_view(state)]
    if kind is None or not keys:
        return ()
    if kind.subject == "models":
        return (Request(kind=kind.name, models=tuple(keys[:MOST_MODELS])),)
    shown = keys[: MOST_SIDE_BY_SIDE if state.models else 1]
    if kind.subject == "model":
        return tuple(Request(kind=kind.name, models=(key,)) for key in shown)
    tensors = ((key, best_tensor(state, board, key, shown[0])) for key in shown)
    return tuple(Request(kind=kind.name, models=(key,), tensor=tensor) for key, tensor in tensors if tensor)


def tensors_of(pattern: PatternRecord, state: State) -> tuple[TensorRecord, ...]:
    """The matrices that were fitted, of the roles of the state; without a fit, all matrices."""
    matrices = [tensor for tensor in pattern.tensors if tensor.rows > 1 and tensor.pattern_class is not None]
    fitted = [tensor for tensor in matrices if tensor.fit is not None] or matrices
    return tuple(tensor for tensor in fitted if not state.roles or tensor.role in state.roles)


def best_tensor(state: State, board: Board, key: str, first: str) -> str:
    """The model's tensor of the name that is chosen, else the one most like that of the first model; "" if none."""
    own, leading = (tensors_of(board.pattern(name), state) for name in (key, first))
    wanted = _named(leading, state.tensor) or _usual(leading)
    if wanted is None or not own:
        return own[0].name if own else ""
    return (_named(own, wanted.name) or min(own, key=lambda tensor: _unlikeness(tensor, wanted))).name


def _named(tensors: Sequence[TensorRecord], name: str) -> TensorRecord | None:
    return next((tensor for tensor in tensors if tensor.name == name), None)


def _usual(tensors: Sequence[TensorRecord]) -> TensorRecord | None:
    """A matrix inside the blocks: embeddings are the largest and tell least."""
    return next((tensor for tensor in tensors if tensor.block is not None), next(iter(tensors), None))


def _unlikeness(tensor: TensorRecord, wanted: TensorRecord) -> tuple[bool, float]:
    depths = (tensor.depth, wanted.depth)
    return tensor.role != wanted.role, abs(depths[0] - depths[1]) if None not in depths else 1.0  # type: ignore[operator]

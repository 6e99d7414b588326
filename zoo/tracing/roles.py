"""Reads roles, axes and free signs of parameters off a derivation, in the words that names give them.

What tells a role: attention by what multiplies what (`derive`); a feed-forward pair by units that one layer has; a
bottleneck by a second stream; a head by coming behind all layers; an embedding by how it is looked up.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from zoo.tensors import CONVOLUTIONS, EMBEDDINGS, Axis, Role
from zoo.tracing.derive import Derivation, Group, Kind
from zoo.tracing.traced import TracedTensor, TracedWiring, outer_layer

__all__ = ["read_wiring"]

ATTENTION = (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE, Role.ATTENTION_OUTPUT)
WORDS: Mapping[Kind, Axis] = {
    Kind.RESIDUAL: Axis.HIDDEN,  # Sums inside of one layer; a stream has its own word.
    Kind.HEADS: Axis.ATTENTION,
    Kind.WITHIN_HEAD: Axis.ATTENTION,
    Kind.HIDDEN: Axis.HIDDEN,
    Kind.CHANNEL: Axis.CHANNEL,
    Kind.VOCABULARY: Axis.VOCABULARY,
    Kind.LABEL: Axis.LABEL,
    Kind.FIXED: Axis.POSITION,
    Kind.UNUSED: Axis.POSITION,
}
MEANT: Mapping[Role, tuple[Axis | None, Axis | None]] = {
    Role.TOKEN_EMBEDDING: (Axis.VOCABULARY, None),
    Role.POSITION_EMBEDDING: (Axis.POSITION, None),
    Role.PATCH_EMBEDDING: (None, Axis.POSITION),
    Role.ATTENTION_QUERY: (Axis.ATTENTION, None),
    Role.ATTENTION_KEY: (Axis.ATTENTION, None),
    Role.ATTENTION_VALUE: (Axis.ATTENTION, None),
    Role.ATTENTION_OUTPUT: (None, Axis.ATTENTION),
    Role.ROUTER: (Axis.HIDDEN, None),
}
"""What rows and columns are by the meaning of a role; the run says the rest."""


def read_wiring(found: Derivation, model: nn.Module, *, vocabulary: int) -> TracedWiring:
    """The wiring of a tiny model.

    - `vocabulary`: size of its vocabulary: a head with so many rows writes tokens, a table of so many rows reads them.

    The order of a stream may be real (fixed waves are added to it). It is a residual stream none the less: to take an
    axis as more symmetric than it is loses nothing but bits.
    """
    return _Reading(found, model, vocabulary).wiring()


class _Reading:
    """Reads one derivation."""

    def __init__(self, found: Derivation, model: nn.Module, vocabulary: int) -> None:
        self.found, self.vocabulary = found, vocabulary
        self.model = type(model).__name__
        self.lists = _lists(model, list(found.parameters))
        self.layer = {name: outer_layer(name, self.lists) for name in found.parameters}
        self.order = {name: place for place, name in enumerate(found.parameters)}
        self.streams = {group.atom for group in found.groups if self._is_stream(group)}
        used = {m.parameter for group in found.groups if group.kind is not Kind.UNUSED for m in group.members}
        inside = [self.order[name] for name, layer in self.layer.items() if layer and name in used]
        self.first, self.last = min(inside, default=0), max(inside, default=-1)
        self.on: dict[tuple[str, int], list[Group]] = {}
        for group in found.groups:
            for member in group.members:
                self.on.setdefault((member.parameter, member.axis), []).append(group)

    def wiring(self) -> TracedWiring:
        heads = {group.size for group in self.found.groups if group.kind is Kind.HEADS and len(group.members) > 1}
        return TracedWiring(
            model=self.model,
            lists=self.lists,
            heads=heads.pop() if len(heads) == 1 else None,
            tensors=_with_shifts({name: self._tensor(name) for name in self.found.parameters}),
            stopped_by=tuple(sorted(self.found.stopped_by)),
        )

    def _is_stream(self, group: Group) -> bool:
        """Whether several layers meet along it, or attention and something else: other sums are a layer's own."""
        if group.atom not in self.found.streams or group.kind in (Kind.HEADS, Kind.WITHIN_HEAD):
            return False
        names = {member.parameter for member in group.members}
        return len({self.layer[name] for name in names}) > 1 or any(
            role in ATTENTION for name in names for role in self.found.roles[name]
        )

    def _tensor(self, name: str) -> TracedTensor:
        sizes = self._sizes(name)
        if len([size for size in sizes if size > 1]) < 2:
            return TracedTensor(role=self._first_role(name), ndim=len(sizes))
        if self._first_role(name) in CONVOLUTIONS or (len(sizes) > 2 and name not in self.found.reads):
            return self._kernel(name)
        transposed = self.found.reads.get(name) == 0
        rows, cols = ((1, 0) if transposed else (0, 1)) if len(sizes) == 2 else ((1, 0) if transposed else (0, 2))
        words = self._word(name, rows), self._word(name, cols)
        role = self._role(name, *words)
        if len(sizes) > 2 and role not in ATTENTION:
            return TracedTensor(role=Role.OTHER, ndim=len(sizes))
        if role in EMBEDDINGS and transposed:
            transposed, rows, cols, words = False, cols, rows, (words[1], words[0])
        if role is Role.BOTTLENECK:
            row_word, col_word = (
                Axis.HIDDEN if self._is_narrow(name, axis) else word
                for axis, word in zip((rows, cols), words, strict=True)
            )
            words = row_word, col_word
        row_axis, col_axis = self._named(role, words)
        parts = self._parts(name, rows) if role is Role.FFN_IN else 1
        return TracedTensor(
            role=role,
            ndim=len(sizes),
            row_axis=row_axis,
            col_axis=col_axis,
            transposed=transposed,
            free_row_signs=self._is_free(name, rows),
            free_col_signs=self._is_free(name, cols),
            parts=parts,
            free_parts=self._free_parts(name, rows, parts) if parts > 1 else (),
        )

    def _sizes(self, name: str) -> list[int]:
        return [self.found.axes.size(dim) for dim in self.found.parameters[name].dims]

    def _first_role(self, name: str) -> Role:
        """The role that the trace gives; `other` for a matrix of several."""
        roles = self.found.roles[name]
        return roles[0] if len(roles) == 1 else Role.OTHER

    def _word(self, name: str, axis: int) -> Axis:
        """What most indices of an axis are."""
        counts: Counter[Axis] = Counter()
        for group in self.on.get((name, axis), []):
            is_token = group.kind is Kind.LABEL and group.size == self.vocabulary
            word = Axis.VOCABULARY if is_token else WORDS[group.kind]
            counts[Axis.RESIDUAL if group.atom in self.streams else word] += group.size
        return counts.most_common(1)[0][0] if counts else Axis.POSITION

    def _role(self, name: str, rows: Axis, cols: Axis) -> Role:
        """The role of a matrix (out, in)."""
        known = self._first_role(name)
        if known in (*ATTENTION, Role.ROUTER) or len(self.found.roles[name]) > 1:
            return known
        if known is Role.TOKEN_EMBEDDING or (known is Role.POSITION_EMBEDDING and self._is_vocabulary(name)):
            return Role.TOKEN_EMBEDDING
        if known is Role.POSITION_EMBEDDING:
            return known if rows is Axis.POSITION and cols is not Axis.POSITION else Role.OTHER
        if name not in self.found.reads:
            return Role.OTHER
        if self.layer[name]:
            return self._inner_role(name, rows, cols)
        if known is Role.PATCH_EMBEDDING:
            return known if rows is Axis.RESIDUAL and self.order[name] < self.first else Role.OTHER
        if self.order[name] > self.last >= 0:
            return Role.HEAD
        if self.order[name] > self.first:  # Between two towers.
            return self._inner_role(name, rows, cols)
        return Role.BOTTLENECK if rows is Axis.RESIDUAL and cols in (Axis.RESIDUAL, Axis.HIDDEN) else Role.OTHER

    def _is_vocabulary(self, name: str) -> bool:
        """Whether a table of numbered rows holds tokens: it writes them too, or no other one is known to."""
        if name in self.found.reads:
            return True
        tables = [n for n, roles in self.found.roles.items() if set(roles) & {*EMBEDDINGS} and len(self._sizes(n)) == 2]
        has_tokens = any(Role.TOKEN_EMBEDDING in self.found.roles[n] for n in tables)
        return not has_tokens and name == tables[0] and self._sizes(name)[0] >= self.vocabulary

    def _inner_role(self, name: str, rows: Axis, cols: Axis) -> Role:
        """Of a matrix in a layer: which side the stream is on tells whether it enters or leaves."""
        if (rows, cols) == (Axis.HIDDEN, Axis.RESIDUAL):
            groups = {group.atom: group for axis in (0, 1) for group in self.on.get((name, axis), [])}
            others = {m.parameter for g in groups.values() if g.atom not in self.streams for m in g.members}
            # What attention reads with is a stream that was made narrower.
            is_narrow = any(role in ATTENTION for other in others for role in self.found.roles[other])
            return Role.BOTTLENECK if is_narrow else Role.FFN_IN
        if (rows, cols) == (Axis.RESIDUAL, Axis.HIDDEN):
            return Role.FFN_OUT
        return Role.BOTTLENECK if rows is cols is Axis.RESIDUAL else Role.OTHER

    def _named(self, role: Role, words: tuple[Axis, Axis]) -> tuple[Axis, Axis]:
        """The axes in the words that names have for this role."""
        rows, cols = (meant or word for meant, word in zip(MEANT.get(role, (None, None)), words, strict=True))
        # What these roles read or write is called the residual stream, be it narrower or made of channels.
        if role is Role.HEAD or role is Role.ATTENTION_OUTPUT:
            rows = Axis.RESIDUAL if rows in (Axis.HIDDEN, Axis.CHANNEL) else rows
        if role in (Role.HEAD, *EMBEDDINGS, *ATTENTION[:3]):
            cols = Axis.RESIDUAL if cols in (Axis.HIDDEN, Axis.CHANNEL) else cols
        return rows, cols

    def _is_narrow(self, name: str, axis: int) -> bool:
        """Whether the stream along an axis stays in one layer."""
        groups = [group for group in self.on.get((name, axis), []) if group.atom in self.streams]
        names = {member.parameter for group in groups for member in group.members}
        return len({self.layer[each] for each in names}) == 1

    def _kernel(self, name: str) -> TracedTensor:
        """A convolution's kernel, or what is of three dimensions and no product."""
        role, ndim = self._first_role(name), len(self._sizes(name))
        if role not in (*CONVOLUTIONS, Role.PATCH_EMBEDDING):
            return TracedTensor(role=Role.OTHER, ndim=ndim)
        reads_pixels = role is Role.DEPTHWISE_CONVOLUTION or self._word(name, 1) is Axis.POSITION
        return TracedTensor(
            role=role,
            ndim=ndim,
            row_axis=Axis.RESIDUAL if role is Role.PATCH_EMBEDDING else Axis.CHANNEL,
            col_axis=Axis.POSITION if reads_pixels or role is Role.PATCH_EMBEDDING else Axis.CHANNEL,
            free_row_signs=self._is_free(name, 0),
            free_col_signs=not reads_pixels and self._is_free(name, 1),
        )

    def _is_free(self, name: str, axis: int) -> bool:
        """Whether signs along an axis may be flipped."""
        number = self.found.parameters[name].number
        schemes = (scheme for group in self.on.get((name, axis), []) for scheme in group.signs)
        return any(spot[:2] == (number, axis) for scheme in schemes for spot in scheme)

    def _free_parts(self, name: str, axis: int, parts: int) -> tuple[bool, ...]:
        """The same for each run along the axis: a gate keeps its signs where what it gates does not."""
        number, size = self.found.parameters[name].number, self._sizes(name)[axis] // parts
        schemes = [scheme for group in self.on.get((name, axis), []) for scheme in group.signs]
        starts = {spot[2] for scheme in schemes for spot in scheme if spot[:2] == (number, axis)}
        return tuple(part * size in starts for part in range(parts))

    def _parts(self, name: str, axis: int) -> int:
        """How many runs of equal size the axis consists of, all along the same units."""
        group = max(self.on[name, axis], key=lambda each: each.size)
        blocks = [m.block.positions for m in group.members if (m.parameter, m.axis) == (name, axis)]
        are_runs = all(int(p.flat[-1]) - int(p.flat[0]) + 1 == p.size == group.size for p in blocks)
        return len(blocks) if are_runs and len(blocks) * group.size == self._sizes(name)[axis] else 1


def _with_shifts(tensors: Mapping[str, TracedTensor]) -> dict[str, TracedTensor]:
    """A shift beside a gain, and nothing else, is a norm's: both are called so."""
    beside: dict[str, list[Role]] = {}
    for name, tensor in tensors.items():
        beside.setdefault(name.rpartition(".")[0], []).append(tensor.role)
    norms = {module for module, roles in beside.items() if sorted(roles) == [Role.BIAS, Role.NORM]}
    return {
        name: replace(tensor, role=Role.NORM)
        if tensor.role is Role.BIAS and name.rpartition(".")[0] in norms
        else tensor
        for name, tensor in tensors.items()
    }


def _lists(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Forms of the paths of lists of layers, in the order of execution.

    A `ModuleList` is one, and a `Sequential` whose parts are of one class that is no single operation.
    """
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) or (isinstance(module, nn.Sequential) and _repeats(module)):
            parent = path
            for known in sorted(found, key=len, reverse=True):
                if path.startswith(f"{known}."):
                    number, *rest = path[len(known) + 1 :].split(".")
                    parent = ".".join([found[known], "*", *rest]) if number.isdigit() else path
                    break
            found[path] = parent
    first = {path: next((i for i, n in enumerate(names) if n.startswith(f"{path}.")), len(names)) for path in found}
    ordered = sorted((path for path in found if first[path] < len(names)), key=lambda path: (first[path], len(path)))
    return tuple(dict.fromkeys(found[path] for path in ordered))


def _repeats(module: nn.Sequential) -> bool:
    parts = [part for part in module if any(True for _ in part.parameters())]
    return len({type(part) for part in parts}) == 1 and any(True for _ in parts[0].children())

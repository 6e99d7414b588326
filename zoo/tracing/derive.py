"""What a trace has found: groups of axes that move together, roles of parameters, the order of execution."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from zoo.tensors import Role
from zoo.tracing.axes import Axes, Block, Node
from zoo.tracing.freedom import Scheme, find_schemes
from zoo.tracing.ledger import Field, Value
from zoo.tracing.operations import RULES
from zoo.tracing.trace import AttentionCall, Trace, Use

__all__ = ["Derivation", "Group", "Kind", "Member", "derive", "followed", "output_tensors"]


class Kind(StrEnum):
    """What the indices of a group stand for."""

    RESIDUAL = "residual"
    HEADS = "heads"
    WITHIN_HEAD = "within head"
    HIDDEN = "hidden"
    CHANNEL = "channel"
    VOCABULARY = "vocabulary"
    LABEL = "label"
    FIXED = "fixed"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Member:
    """An axis of a parameter, or a factor of a part of one, along which a group runs."""

    parameter: str
    axis: int
    block: Block
    place: int
    """Which dimension of `block.positions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Axes whose indices are the same units of the network."""

    atom: Node
    size: int
    kind: Kind
    can_permute: bool
    nested_in: tuple[Node, ...]
    """Groups for each of whose indices the permutation and the signs here may be others."""
    members: tuple[Member, ...]
    signs: tuple[Scheme, ...]
    """Independent ways to flip the sign of an index."""
    scales: tuple[Scheme, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """All that is known of one network."""

    axes: Axes
    groups: tuple[Group, ...]
    parameters: Mapping[str, Value]
    """In the order of execution; unused ones last."""
    outputs: tuple[Value | None, ...]
    tokens: Node | None
    roles: Mapping[str, tuple[Role, ...]]
    """What each parameter does, as far as its uses tell (`roles` tells the rest); a fused one does several things."""
    reads: Mapping[str, int]
    """Matrix -> its axis along which it is multiplied with what it is applied to."""
    streams: frozenset[Node]
    """Axes along which activations were added up, those of real order among them."""
    stopped_by: Mapping[str, str]
    """Operations that no rule knows, or whose rule failed, and why: all that they touch is fixed."""


def followed(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds and is a number: parameters and running statistics, each once."""
    persistent = set(model.state_dict())
    buffers = {name: b for name, b in model.named_buffers() if name in persistent and b.dtype.is_floating_point}
    return {**dict(model.named_parameters()), **{name: buffer for name, buffer in buffers.items() if buffer.ndim}}


def output_tensors(found: Any) -> list[Tensor]:
    """All numbers that a model returns."""
    leaves = tree_leaves(dict(found) if isinstance(found, Mapping) else found)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dtype.is_floating_point]


def derive(model: nn.Module, run: Callable[[], Any], tokens: Sequence[Tensor] = (), vocabulary: int = 0) -> Derivation:
    """Run the model once and tell what its axes are.

    - `run`: calls the model on inputs; returns what it returns.
    - `tokens`: inputs whose entries are indices of a vocabulary of this size.
    """
    trace = Trace(RULES)
    tensors = followed(model)
    for name, tensor in tensors.items():
        trace.add_parameter(name, tensor)
    parameters = {name: trace.value(tensor) for name, tensor in tensors.items()}
    node = trace.axes.atom(vocabulary) if tokens else None
    for tensor in tokens:
        trace.add_tokens(tensor, node if node is not None else 0)
    with torch.no_grad(), trace:
        found = run()
    outputs = tuple(trace.value(t) if trace.is_followed(t) else None for t in output_tensors(found))
    return _Reader(trace, parameters, outputs, node).derivation()


class _Reader:
    """Reads a finished trace."""

    def __init__(
        self, trace: Trace, parameters: dict[str, Value], outputs: tuple[Value | None, ...], tokens: Node | None
    ) -> None:
        self.trace, self.axes = trace, trace.axes
        self.outputs, self.tokens = outputs, tokens
        order = {use.parameter: None for use in trace.uses}
        names = [name for name in order if name in parameters]
        self.used = set(names)
        self.parameters = {name: parameters[name] for name in [*names, *(n for n in parameters if n not in self.used)]}
        self.members = self._members()
        self.nests = self._nests()
        self.within = self._atoms(node for call in trace.attentions for node in call.within)
        self.heads = self._atoms(node for call in trace.attentions for node in call.heads)
        self.streams = self._atoms(trace.streams)
        self.vocabulary = self._atoms([] if tokens is None else [tokens])
        self.results = self._atoms(value.dims[-1] for value in outputs if value is not None and value.dims)
        self.experts = self._atoms(v.index_of for v in trace.ledger.values if v.index_of is not None) - self.vocabulary
        self.kernels = {use.parameter for use in trace.uses if use.kind == "convolution"}

    def derivation(self) -> Derivation:
        shown = [*self.parameters.values(), *(value for value in self.outputs if value is not None)]
        signs = find_schemes(self.trace.ledger, Field.SIGN, shown)
        scales = find_schemes(self.trace.ledger, Field.SCALE, shown)
        groups = tuple(self._group(atom, signs.get(atom, []), scales.get(atom, [])) for atom in self.members)
        return Derivation(
            axes=self.axes,
            groups=groups,
            parameters=self.parameters,
            outputs=self.outputs,
            tokens=self.tokens,
            roles={name: self._roles(name) for name in self.parameters},
            reads={name: axis for name in self.parameters if (axis := self._read_axis(name)) is not None},
            streams=frozenset(self.streams),
            stopped_by=dict(self.trace.stopped_by),
        )

    def _atoms(self, nodes: Any) -> set[Node]:
        return {atom for node in nodes for atom in self.axes.atoms(node)}

    def _members(self) -> dict[Node, list[Member]]:
        found: dict[Node, list[Member]] = defaultdict(list)
        for name, value in self.parameters.items():
            for axis, node in enumerate(value.dims):
                for block in self.axes.blocks(node):
                    for place, atom in enumerate(block.atoms):
                        found[atom].append(Member(name, axis, block, place))
        return dict(found)

    def _nests(self) -> dict[Node, tuple[Node, ...]]:
        """Atom -> those that stand beside it in every tensor, and are nowhere mixed in its presence."""
        beside: dict[Node, set[Node]] = {}
        for value in self.trace.ledger.values:
            if value.is_constant:
                continue
            for combination in _together(self.axes, value):
                for atom in combination:
                    others = set(combination) - {atom}
                    beside[atom] = beside[atom] & others if atom in beside else others
        for value, dims in self.trace.mixed:
            mixed = self._atoms(value.dims[dim] for dim in dims)
            kept = self._atoms(node for dim, node in enumerate(value.dims) if dim not in dims)
            for atom in kept & beside.keys():
                beside[atom] -= mixed
        # What numbers stand for is the same wherever they are looked up.
        chosen = self._atoms(v.index_of for v in self.trace.ledger.values if v.index_of is not None)
        nests: dict[Node, tuple[Node, ...]] = dict.fromkeys(chosen & self.members.keys(), ())
        for atom in sorted(self.members.keys() - chosen, reverse=True):
            others = beside.get(atom, set()) & self.members.keys()
            nests[atom] = tuple(sorted(other for other in others if atom not in nests.get(other, ())))
        return nests

    def _group(self, atom: Node, signs: list[Scheme], scales: list[Scheme]) -> Group:
        kind = self._kind(atom)
        is_known = kind not in (Kind.VOCABULARY, Kind.LABEL, Kind.UNUSED)
        own = {value.number for value in self.parameters.values()}
        return Group(
            atom=atom,
            size=self.axes.size(atom),
            kind=kind,
            can_permute=not self.axes.is_fixed(atom) and kind is not Kind.UNUSED,
            nested_in=self.nests[atom],
            members=tuple(self.members[atom]),
            signs=tuple(s for s in signs if is_known and any(unknown[0] in own for unknown in s)),
            scales=tuple(s for s in scales if is_known and any(unknown[0] in own for unknown in s)),
        )

    def _kind(self, atom: Node) -> Kind:
        names = {member.parameter for member in self.members[atom]}
        if names.isdisjoint(self.used):
            return Kind.UNUSED
        if atom in self.vocabulary:
            return Kind.VOCABULARY
        if atom in self.within or atom in self.heads:
            return Kind.WITHIN_HEAD if atom in self.within else Kind.HEADS
        if self.axes.is_fixed(atom):
            return Kind.FIXED
        matrices = {name for name in names if len(self.parameters[name].dims) > 1}
        if matrices and (matrices <= self.kernels or (matrices & self.kernels and atom not in self.streams)):
            return Kind.CHANNEL
        if atom in self.streams:
            return Kind.RESIDUAL
        return Kind.LABEL if atom in self.results else Kind.HIDDEN

    def _roles(self, name: str) -> tuple[Role, ...]:
        found = [role for call in self.trace.attentions for role in _attention_roles(call, name)]
        return tuple(dict.fromkeys(found)) or (self._role(name),)

    def _role(self, name: str) -> Role:
        value = self.parameters[name]
        uses = [use for use in self.trace.uses if use.parameter == name]
        known = {use.kind for use in uses}
        if "tokens" in known:
            return Role.TOKEN_EMBEDDING
        if "positions" in known:
            return Role.POSITION_EMBEDDING
        if sum(not self.members.keys().isdisjoint(self.axes.atoms(node)) for node in value.dims) < 2:
            return Role.NORM if "scales" in known else Role.BIAS if "added" in known else Role.OTHER
        if "convolution" in known:
            return self._kernel_role(value, uses)
        if "product" not in known:
            return Role.POSITION_EMBEDDING if "added" in known else Role.OTHER
        if any(use.reads_input for use in uses):
            return Role.PATCH_EMBEDDING
        into = self._read_axis(name)
        if into is not None and len(value.dims) == 2 and self.experts & set(self.axes.atoms(value.dims[1 - into])):
            return Role.ROUTER
        return Role.OTHER

    def _kernel_role(self, value: Value, uses: Sequence[Use]) -> Role:
        if any(use.reads_input for use in uses):
            return Role.PATCH_EMBEDDING
        sizes = [self.axes.size(node) for node in value.dims]
        if sizes[1] == 1 and sizes[0] > 1:
            return Role.DEPTHWISE_CONVOLUTION
        return Role.POINTWISE_CONVOLUTION if set(sizes[2:]) == {1} else Role.CONVOLUTION

    def _read_axis(self, name: str) -> int | None:
        """The axis that a matrix reads with; the last where both sides are one stream, as `nn.Linear` stores it."""
        read = self._atoms([self.trace.contracted[name]]) if name in self.trace.contracted else set()
        own = [set(self.axes.atoms(node)) for node in self.parameters[name].dims]
        found = [axis for axis in range(len(own)) if own[axis] & read]
        return None if not found else found[-1] if len(own) == 2 else found[0]


def _attention_roles(call: AttentionCall, name: str) -> list[Role]:
    pairs = (
        (Role.ATTENTION_QUERY, call.query),
        (Role.ATTENTION_KEY, call.key),
        (Role.ATTENTION_VALUE, call.value),
        (Role.ATTENTION_OUTPUT, call.output),
    )
    return [role for role, names in pairs if name in names]


def _together(axes: Axes, value: Value) -> list[list[Node]]:
    """Atoms that stand in one part of a tensor together: one list for each combination of blocks."""
    combinations: list[list[Node]] = [[]]
    for node in value.dims:
        blocks = axes.blocks(node)
        combinations = [[*known, *block.atoms] for known in combinations for block in blocks]
        if len(combinations) > 4096:
            return [[atom] for node in value.dims for atom in axes.atoms(node)]
    return combinations

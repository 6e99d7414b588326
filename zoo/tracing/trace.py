"""Runs a model once and follows its axes: a dispatch mode that sees every operation on real, tiny tensors.

Only what depends on parameters is followed. All else (inputs, masks, position numbers) is a constant: its value says
what it does to an axis. A constant that is the same along an axis leaves it free; one that is not fixes its order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.tracing.axes import Axes, Node
from zoo.tracing.ledger import Ledger, Spot, Value, Window

__all__ = ["AttentionCall", "Rule", "Trace", "Use"]

ORDERING = frozenset(
    {"argmax", "argmin", "max", "min", "sort", "argsort", "topk", "cumsum", "sum", "lt", "gt", "le", "ge"}
)
"""Operations that see which token has the larger number."""
MOVES = frozenset({"cat", "expand", "gather", "index", "index_select", "repeat", "select", "slice", "stack", "unfold"})
"""Operations that give out numbers of tokens as they are, some of them or several times."""
Rule = Callable[["Trace", str, Sequence[Any], Mapping[str, Any], Any], None]


@dataclass(slots=True)
class AttentionCall:
    """One softmax of a product of two activations."""

    query: frozenset[str]
    key: frozenset[str]
    value: frozenset[str] = frozenset()
    output: frozenset[str] = frozenset()
    heads: set[Node] = field(default_factory=set)
    within: set[Node] = field(default_factory=set)

    def clear(self) -> None:
        """Say that it is none: what is weighed are no projections."""
        self.query = self.key = self.value = self.output = frozenset()
        self.heads, self.within = set(), set()


@dataclass(slots=True)
class Use:
    """An operation that reads a parameter."""

    parameter: str
    kind: str
    reads_input: bool = False


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # Torch has no annotation there.
    """Follows all operations inside of `with trace:`."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = Ledger()
        self.rules = rules
        self.uses: list[Use] = []
        self.attentions: list[AttentionCall] = []
        self.stopped_by: dict[str, str] = {}
        """Operation that no rule knows, or whose rule failed -> why."""
        self.tokens: dict[int, Node] = {}
        self.streams: list[Node] = []
        """Axes along which activations were added up."""
        self.contracted: dict[str, Node] = {}
        """Matrix -> the axis of what it is applied to."""
        self.mixed: list[tuple[Value, list[int]]] = []
        self._values: dict[int, Value] = {}
        self._alive: list[Any] = []
        self._by_storage: defaultdict[int, list[Tensor]] = defaultdict(list)

    @property
    def axes(self) -> Axes:
        return self.ledger.axes

    def add_parameter(self, name: str, tensor: Tensor) -> None:
        """Follow `tensor`; it is known as `name`."""
        dims = [self.axes.atom(size) for size in tensor.shape]
        self._put(tensor, self.ledger.new(dims, parameter=name, sources=frozenset({name})))

    def add_tokens(self, tensor: Tensor, vocabulary: Node) -> None:
        """The entries of the constant `tensor` are indices of the axis `vocabulary`."""
        self._alive.append(tensor)
        self.tokens[id(tensor)] = vocabulary

    def use(self, parameter: str, kind: str, *, reads_input: bool = False) -> None:
        """Note that an operation reads a parameter."""
        if parameter:
            self.uses.append(Use(parameter, kind, reads_input))

    def mix(self, value: Value, dims: Iterable[int]) -> None:
        """Note that an operation mixes the indices of these axes and keeps them."""
        self.mixed.append((value, [dim % len(value.dims) for dim in dims]))

    def is_followed(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and id(tensor) in self._values

    def value(self, tensor: Tensor) -> Value:
        """The value of a tensor; a new one for a constant."""
        known = self._values.get(id(tensor))
        if known is not None:
            return known
        dims = [self.axes.atom(size, fixed=_varies(tensor, dim)) for dim, size in enumerate(tensor.shape)]
        is_zero = tensor.dtype.is_floating_point and not bool(tensor.any())
        return self.ledger.new(dims, is_constant=True, is_zero=is_zero, index_of=self.tokens.get(id(tensor)))

    def put(self, tensor: Tensor, dims: Iterable[Node], **facts: Any) -> Value:
        """Follow the result of an operation."""
        value = self.ledger.new(list(dims), **facts)
        assert [self.axes.size(dim) for dim in value.dims] == list(tensor.shape)
        self._put(tensor, value)
        return value

    def put_fixed(self, tensor: Tensor, **facts: Any) -> Value:
        """Follow a result along all of whose axes the order is real."""
        return self.put(tensor, [self.axes.atom(size, fixed=True) for size in tensor.shape], **facts)

    def carry(
        self, value: Value, tensor: Tensor, moved: Mapping[int, int], *, fixed: bool = False, **facts: Any
    ) -> Value:
        """Follow a result whose axis `new` is axis `moved[new]` of a value, and changes as that does.

        Its other axes are new ones, along which it does not change; the order along them is real if `fixed`.
        """
        dims = [
            value.dims[moved[dim]] if dim in moved else self.axes.atom(size, fixed=fixed)
            for dim, size in enumerate(tensor.shape)
        ]
        after = self.put(tensor, dims, **facts)
        for dim in range(tensor.ndim):
            if dim in moved:
                self.ledger.same(Spot(value, moved[dim]), Spot(after, dim))
            else:
                self.ledger.nothing(after, [dim])
        return after

    def hold(self, value: Value, dims: Sequence[int] | None = None) -> None:
        """Say that along these axes of a value, all of them by default, the order is real and nothing may change."""
        for dim in range(len(value.dims)) if dims is None else dims:
            self.axes.fix(value.dims[dim])
        self.ledger.nothing(value, dims)

    def rigid(self, tensors: Iterable[Any]) -> None:
        """Nothing is known of how these hang together: fix all their axes."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            self.hold(self._values.get(id(tensor)) or self.put_fixed(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        if not any(id(tensor) in self._values for tensor in inputs):
            return self._untouched(func, args, kwargs)
        rule = self.rules.get(name) or self.rules.get(name.removesuffix("_"))
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = self.rules["pointwise"]
        if rule is None and func in decomposition_table:
            with self:
                return decomposition_table[func](*args, **kwargs)
        given = {id(tensor) for tensor in inputs}
        if rule is None and func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            with self:
                return func.decompose(*args, **kwargs)
        if func._schema.is_mutable:
            self._keep_constants(inputs)
        found = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        self._alive += outputs
        changed = [tensor for tensor in outputs if id(tensor) in given]
        old = {id(tensor): self._values.get(id(tensor)) for tensor in changed}
        self._apply(rule, name, args, kwargs, found, inputs, outputs)
        self._tell_reads(inputs, outputs)
        for tensor in outputs:
            self._by_storage[tensor.untyped_storage()._cdata].append(tensor)
        for tensor in changed:
            self._tell_views(tensor, old[id(tensor)])
        return found

    def _tell_reads(self, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
        """Note the parameters that an operation reads: one that gives out a part or a copy of them does not yet."""
        known = [self._values.get(id(tensor)) for tensor in inputs]
        kept = {self.value(tensor).parameter for tensor in outputs if self.is_followed(tensor)}
        for name in dict.fromkeys(value.parameter for value in known if value is not None):
            if name is not None and name not in kept:
                self.use(name, "read")

    def _apply(
        self, rule: Rule | None, name: str, args: Any, kwargs: Any, found: Any, inputs: list[Any], outputs: list[Any]
    ) -> None:
        """Run the rule; what fails or is not known fixes all axes."""
        try:
            if rule is None:
                raise NotImplementedError("no rule")
            rule(self, name.removesuffix("_"), args, kwargs, found)
        except Exception as error:
            self.stopped_by.setdefault(name, f"{type(error).__name__}: {error}"[:120])
            self.rigid([*inputs, *outputs])

    def _untouched(self, func: Any, args: Any, kwargs: Any) -> Any:
        found = func(*args, **kwargs)
        for tensor in tree_leaves((args, kwargs)):
            if id(tensor) in self.tokens and func.overloadpacket.__name__ in ORDERING:
                self.axes.fix(self.tokens[id(tensor)])
        node = self._tokens_in(args[0]) if args else None
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._alive.append(tensor)
                self._by_storage[tensor.untyped_storage()._cdata].append(tensor)
                if node is not None and (func.overloadpacket.__name__ in MOVES or _is_copy(args[0], tensor)):
                    self.tokens[id(tensor)] = node
        return found

    def _tokens_in(self, moved: Any) -> Node | None:
        """The axis whose indices all entries of a tensor, or of several, are; None where they are none."""
        nodes = {self.tokens.get(id(tensor)) for tensor in tree_leaves(moved)}
        return nodes.pop() if len(nodes) == 1 else None

    def _keep_constants(self, tensors: Iterable[Tensor]) -> None:
        """Look at constants before an operation changes them in place."""
        for tensor in tensors:
            if id(tensor) not in self._values:
                self._put(tensor, self.value(tensor))

    def _put(self, tensor: Tensor, value: Value) -> None:
        self._values[id(tensor)] = value
        self._alive.append(tensor)

    def _tell_views(self, tensor: Tensor, old: Value | None) -> None:
        """After a change in place: whole tensors that `tensor` is a piece of have changed too."""
        for whole in self._by_storage[tensor.untyped_storage()._cdata]:
            is_larger = whole is not tensor and whole.numel() >= tensor.numel() > 0
            if not is_larger or not _is_dense(whole) or whole.storage_offset():
                continue
            if whole.numel() == tensor.numel() and tensor.is_contiguous() and whole.is_contiguous():
                self._tell_alias(whole, tensor)
                continue
            before, value = self._values.get(id(whole)), self.value(tensor)
            dims = before.dims if before else [self.axes.atom(size) for size in whole.shape]
            after = self.put(whole, dims)
            if not self._tell_piece(whole, after, tensor, value, before):
                self.rigid([whole, tensor])
                if before is not None:
                    self.ledger.nothing(before)

    def _tell_alias(self, whole: Tensor, tensor: Tensor) -> None:
        """All of `whole` has changed, which is another view of the same entries."""
        value = self.value(tensor)
        after = self.put(whole, self.axes.view(value.dims, list(whole.shape)))
        self.ledger.views.append((value, after))

    def _tell_piece(self, whole: Tensor, after: Value, piece: Tensor, value: Value, before: Value | None) -> bool:
        """Unify the axes of a piece with those of the whole, found by their strides."""
        offset, used = int(piece.storage_offset()), set[int]()
        for dim in sorted(range(whole.ndim), key=lambda d: (whole.shape[d] == 1, -int(whole.stride()[d]))):
            stride, size = whole.stride(dim), whole.shape[dim]
            start, offset = divmod(offset, stride) if stride else (0, offset)
            mine = [d for d in range(piece.ndim) if piece.stride(d) == stride and piece.shape[d] > 1 and d not in used]
            length = piece.shape[mine[0]] if mine else 1
            if start + length > size:
                return False
            part = self.axes.slice(after.dims[dim], start, start + length)
            if mine:
                used.add(mine[0])
                self.axes.unify(part, value.dims[mine[0]])
                spots = Spot(after, dim), Spot(value, mine[0])
                self.ledger.windows.append((Window(spots[0], start, length), Window(spots[1], 0, length)))
            if before is not None and not before.is_zero:
                # What is not written over stays: other indices of this axis, or of another one along all of this.
                kept = ((0, size),) if length == size else ((0, start), (start + length, size))
                for first, last in kept:
                    window = (
                        Window(Spot(after, dim), first, last - first),
                        Window(Spot(before, dim), first, last - first),
                    )
                    self.ledger.windows.append(window)
        return all(d in used for d in range(piece.ndim) if piece.shape[d] > 1)


def _is_dense(tensor: Tensor) -> bool:
    """Whether the entries fill their storage, in whatever order of axes."""
    places = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    steps = [1]
    for _, size in places:
        steps.append(steps[-1] * size)
    return [stride for stride, _ in places] == steps[:-1]


def _varies(tensor: Tensor, dim: int) -> bool:
    """Whether a constant is different along an axis."""
    if tensor.shape[dim] < 2 or tensor.numel() == 0:
        return False
    return not bool(((tensor == tensor.narrow(dim, 0, 1)) | (tensor != tensor)).all())


def _is_copy(first: Any, second: Tensor) -> bool:
    """Whether the entries are the same, in the same order."""
    return (
        isinstance(first, Tensor)
        and first.numel() == second.numel()
        and not second.dtype.is_floating_point
        and bool((first.reshape(-1) == second.reshape(-1)).all())
    )

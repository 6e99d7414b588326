"""The symmetries of each family of networks: which axis of which tensor belongs to which space.

Axes of one space must be permuted together; then the function of the network stays the same. A space is named
by a template that the groups of a rule's pattern fill in, so `ffn:{layer}` is one space in each layer.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from transformers import PreTrainedModel

__all__ = ["FAMILIES", "RESIDUAL", "Axis", "Family", "Parts", "Rule"]

Join = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What one axis of a tensor (or one part of a fused one) runs along, and how the symmetries act there."""

    space: str = ""
    """Whose order it follows; empty if the order is real: tokens, positions, labels, pixels."""
    heads: str = ""
    """The space of the heads that this axis is cut into; units then stay inside their head."""
    signs: tuple[str, ...] = ()
    """The signs to multiply with; one name, one random vector of signs."""
    power: int = 0
    """1 where units are written, -1 where they are read, if those of the space may be scaled by positive factors."""

    def named(self, groups: Mapping[str, str]) -> "Axis":
        """The same with the templates filled in."""
        space, heads = self.space.format(**groups), self.heads.format(**groups)
        return replace(self, space=space, heads=heads, signs=tuple(name.format(**groups) for name in self.signs))


Parts = tuple[Axis, ...]
"""Of equal length, one after the other along an axis: one, or more in a fused projection."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The leading axes of the tensors whose whole name matches; the others have a real order."""

    pattern: re.Pattern[str]
    axes: tuple[Parts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The rules of one `model_type`; the first that matches a name holds."""

    rules: tuple[Rule, ...]
    joins: Callable[[PreTrainedModel], Iterator[Join]] = lambda model: iter(())
    """Pairs of spaces that are one in this model."""
    activation: str = ""
    """The setting that names what stands between units written and units read."""


def _rule(pattern: str, *axes: Axis | Parts) -> Rule:
    return Rule(re.compile(pattern), tuple((axis,) if isinstance(axis, Axis) else axis for axis in axes))


def _linear(pattern: str, rows: Axis, cols: Axis) -> Rule:
    """Weights (out, in) and, along the first axis, the bias."""
    return _rule(rf"(?:{pattern})\.(?:weight|bias)", rows, cols)


RESIDUAL = "residual"
_FIXED = Axis()
_STREAM = Axis(space=RESIDUAL)
_FFN_IN = Axis(space="ffn:{layer}", power=1)
_FFN_OUT = Axis(space="ffn:{layer}", power=-1)


def _head_units(kind: str, *, attention: str = "{layer}", heads: str = "{layer}") -> Axis:
    """Dimensions inside heads: free in order and, since they only meet in inner products, in sign."""
    space = f"{kind}:{attention}"
    return Axis(space=space, heads=f"heads:{heads}", signs=(space,))


_QK = _head_units("qk")
_VO = _head_units("vo")

_BERT_LAYER = r"(?P<layer>.*encoder\.layer\.\d+)\."
# tanh is odd, so the units of the pooler are free in sign too.
_POOLED = Axis(space="pooled", signs=("pooled",))
_BERT = Family(
    rules=(
        _rule(r".*embeddings\.\w+_embeddings\.weight|.*predictions\.decoder\.weight", _FIXED, _STREAM),
        _rule(r".*predictions(?:\.decoder)?\.bias", _FIXED),
        _rule(r".*LayerNorm\.(?:weight|bias)", _STREAM),
        _linear(rf"{_BERT_LAYER}attention\.self\.(?:query|key)", _QK, _STREAM),
        _linear(rf"{_BERT_LAYER}attention\.self\.value", _VO, _STREAM),
        _linear(rf"{_BERT_LAYER}attention\.output\.dense", _STREAM, _VO),
        _linear(rf"{_BERT_LAYER}intermediate\.dense", _FFN_IN, _STREAM),
        _linear(rf"{_BERT_LAYER}output\.dense", _STREAM, _FFN_OUT),
        _linear(r".*predictions\.transform\.dense", _STREAM, _STREAM),
        _linear(r".*pooler\.dense", _POOLED, _STREAM),
        _linear(r"classifier|cls\.seq_relationship", _FIXED, _POOLED),
    ),
    activation="hidden_act",
)

# MobileBERT's norms only scale and shift, so the signs of its residual streams are arbitrary, and shifts change with
# them. Each layer has a narrow stream of its own, and a projection of the wide one that queries and keys share. The
# order of embeddings stays: three of them are read concatenated, and the head reads them with columns of its own.
_MOBILEBERT_LAYER = r"(?P<layer>.*encoder\.layer\.\d+)\."
_WIDE, _NARROW, _SHARED = (
    Axis(space=space, signs=(space,)) for space in (RESIDUAL, "narrow:{layer}", "shared:{layer}")
)
_FFN_NUMBER = r"(?P<ffn>(?:ffn\.\d+\.)?)"
_MOBILEBERT_FFN_IN, _MOBILEBERT_FFN_OUT = (Axis(space="ffn:{layer}.{ffn}", power=power) for power in (1, -1))


def _scaled_linear(pattern: str, rows: Axis, cols: Axis) -> tuple[Rule, ...]:
    """A linear map, and beside it the norm that scales (which no sign changes) and shifts what it writes."""
    norm = rf"{pattern}LayerNorm"
    gain, shift = _rule(rf"{norm}\.weight", replace(rows, signs=())), _rule(rf"{norm}\.bias", rows)
    return (_linear(rf"{pattern}dense", rows, cols), gain, shift)


_MOBILEBERT = Family(
    rules=(
        _rule(r".*word_embeddings\.weight|.*predictions\.(?:decoder\.(?:weight|bias)|dense\.weight|bias)"),
        _rule(r".*(?:position|token_type)_embeddings\.weight", _FIXED, _WIDE),
        _linear(r".*embedding_transformation", _WIDE, _FIXED),
        _rule(r".*embeddings\.LayerNorm\.weight", replace(_WIDE, signs=())),
        _rule(r".*embeddings\.LayerNorm\.bias", _WIDE),
        _linear(rf"{_MOBILEBERT_LAYER}attention\.self\.(?:query|key)", _QK, _SHARED),
        _linear(rf"{_MOBILEBERT_LAYER}attention\.self\.value", _VO, _WIDE),
        *_scaled_linear(rf"{_MOBILEBERT_LAYER}attention\.output\.", _NARROW, _VO),
        *_scaled_linear(rf"{_MOBILEBERT_LAYER}bottleneck\.input\.", _NARROW, _WIDE),
        *_scaled_linear(rf"{_MOBILEBERT_LAYER}bottleneck\.attention\.", _SHARED, _WIDE),
        *_scaled_linear(rf"{_MOBILEBERT_LAYER}output\.bottleneck\.", _WIDE, _NARROW),
        _linear(rf"{_MOBILEBERT_LAYER}{_FFN_NUMBER}intermediate\.dense", _MOBILEBERT_FFN_IN, _NARROW),
        *_scaled_linear(rf"{_MOBILEBERT_LAYER}{_FFN_NUMBER}output\.", _NARROW, _MOBILEBERT_FFN_OUT),
        _linear(r".*predictions\.transform\.dense", _FIXED, _WIDE),
        _rule(r".*predictions\.transform\.LayerNorm\.(?:weight|bias)"),
        _linear(r"classifier|cls\.seq_relationship", _FIXED, _WIDE),
    ),
    activation="hidden_act",
)

_ALBERT_LAYER = r"(?P<layer>.*albert_layers\.\d+)\."
_ALBERT_EMBEDDED = Axis(space="embedded")
_ALBERT = Family(
    rules=(
        _rule(r".*embeddings\.\w+_embeddings\.weight|predictions\.decoder\.weight", _FIXED, _ALBERT_EMBEDDED),
        _rule(r"predictions(?:\.decoder)?\.bias", _FIXED),
        _rule(r"(?:.*embeddings|predictions)\.LayerNorm\.(?:weight|bias)", _ALBERT_EMBEDDED),
        _linear(r".*embedding_hidden_mapping_in", _STREAM, _ALBERT_EMBEDDED),
        _linear(r"predictions\.dense", _ALBERT_EMBEDDED, _STREAM),
        _rule(r".*(?:LayerNorm|layer_norm)\.(?:weight|bias)", _STREAM),
        _linear(rf"{_ALBERT_LAYER}attention\.(?:query|key)", _QK, _STREAM),
        _linear(rf"{_ALBERT_LAYER}attention\.value", _VO, _STREAM),
        _linear(rf"{_ALBERT_LAYER}attention\.dense", _STREAM, _VO),
        _linear(rf"{_ALBERT_LAYER}ffn", _FFN_IN, _STREAM),
        _linear(rf"{_ALBERT_LAYER}ffn_output", _STREAM, _FFN_OUT),
    ),
    activation="hidden_act",
)

_GPT2_LAYER = r"(?P<layer>.*h\.\d+)\."
_GPT2 = Family(
    rules=(
        _rule(r".*wte\.weight|.*wpe\.weight|lm_head\.weight|score\.weight", _FIXED, _STREAM),
        _rule(r".*ln_(?:1|2|f)\.(?:weight|bias)", _STREAM),
        _rule(rf"{_GPT2_LAYER}attn\.c_attn\.weight", _STREAM, (_QK, _QK, _VO)),
        _rule(rf"{_GPT2_LAYER}attn\.c_attn\.bias", (_QK, _QK, _VO)),
        _rule(rf"{_GPT2_LAYER}attn\.c_proj\.weight", _VO, _STREAM),
        _rule(rf"{_GPT2_LAYER}mlp\.c_fc\.weight", _STREAM, _FFN_IN),
        _rule(rf"{_GPT2_LAYER}mlp\.c_fc\.bias", _FFN_IN),
        _rule(rf"{_GPT2_LAYER}mlp\.c_proj\.weight", _FFN_OUT, _STREAM),
        _rule(rf"{_GPT2_LAYER}(?:attn|mlp)\.c_proj\.bias", _STREAM),
    ),
    activation="activation_function",
)

_OPT_LAYER = r"(?P<layer>.*layers\.\d+)\."
_OPT_EMBEDDED = Axis(space="embedded")
_OPT = Family(
    rules=(
        _rule(r".*embed_positions\.weight", _FIXED, _STREAM),
        _rule(r".*embed_tokens\.weight|lm_head\.weight", _FIXED, _OPT_EMBEDDED),
        _rule(r".*project_in\.weight", _STREAM, _OPT_EMBEDDED),
        _rule(r".*project_out\.weight", _OPT_EMBEDDED, _STREAM),
        _rule(r".*layer_norm\.(?:weight|bias)", _STREAM),
        _linear(rf"{_OPT_LAYER}self_attn\.[qk]_proj", _QK, _STREAM),
        _linear(rf"{_OPT_LAYER}self_attn\.v_proj", _VO, _STREAM),
        _linear(rf"{_OPT_LAYER}self_attn\.out_proj", _STREAM, _VO),
        _linear(rf"{_OPT_LAYER}fc1", _FFN_IN, _STREAM),
        _linear(rf"{_OPT_LAYER}fc2", _STREAM, _FFN_OUT),
    ),
    # Tokens are embedded in the stream itself unless a projection stands between.
    joins=lambda model: (
        iter(()) if any("project_in" in name for name in model.state_dict()) else iter([("embedded", RESIDUAL)])
    ),
    activation="activation_function",
)

_VIT_LAYER = r"(?P<layer>.*layers\.\d+)\."
_VIT = Family(
    rules=(
        _rule(r".*embeddings\.(?:cls_token|mask_token|position_embeddings)", _FIXED, _FIXED, _STREAM),
        _rule(r".*patch_embeddings\.projection\.(?:weight|bias)", _STREAM),
        _rule(r".*layernorm(?:_before|_after)?\.(?:weight|bias)", _STREAM),
        _linear(rf"{_VIT_LAYER}attention\.[qk]_proj", _QK, _STREAM),
        _linear(rf"{_VIT_LAYER}attention\.v_proj", _VO, _STREAM),
        _linear(rf"{_VIT_LAYER}attention\.o_proj", _STREAM, _VO),
        _linear(rf"{_VIT_LAYER}mlp\.fc1", _FFN_IN, _STREAM),
        _linear(rf"{_VIT_LAYER}mlp\.fc2", _STREAM, _FFN_OUT),
        _linear(r"classifier", _FIXED, _STREAM),
    ),
    activation="hidden_act",
)

# T5 normalises by the root mean square, which no sign changes: the stream is free in sign, and the gains do not turn.
_T5_STREAM = Axis(space=RESIDUAL, signs=(RESIDUAL,))
_T5_BLOCK = r"(?P<stack>encoder|decoder)\.(?P<layer>block\.\d+\.layer\.\d+)\."
_T5_LAYER = "{stack}.{layer}"


def _t5_attention(module: str, heads: str) -> tuple[Rule, ...]:
    qk, vo = (_head_units(kind, attention=_T5_LAYER, heads=heads) for kind in ("qk", "vo"))
    return (
        _rule(rf"{_T5_BLOCK}{module}\.[qk]\.weight", qk, _T5_STREAM),
        _rule(rf"{_T5_BLOCK}{module}\.v\.weight", vo, _T5_STREAM),
        _rule(rf"{_T5_BLOCK}{module}\.o\.weight", _T5_STREAM, vo),
    )


_T5_FFN_IN, _T5_FFN_OUT = (Axis(space=f"ffn:{_T5_LAYER}", power=power) for power in (1, -1))
_T5 = Family(
    rules=(
        _rule(r"shared\.weight|\w+\.embed_tokens\.weight|lm_head\.weight", _FIXED, _T5_STREAM),
        _rule(r".*layer_norm\.weight", _STREAM),
        # The first layer's table of positions serves every layer of its stack, so all have one order of heads.
        _rule(rf"{_T5_BLOCK}SelfAttention\.relative_attention_bias\.weight", _FIXED, Axis(space="heads:{stack}")),
        *_t5_attention("SelfAttention", "{stack}"),
        *_t5_attention("EncDecAttention", _T5_LAYER),
        _rule(rf"{_T5_BLOCK}DenseReluDense\.wi(?:_[01])?\.weight", _T5_FFN_IN, _T5_STREAM),
        _rule(rf"{_T5_BLOCK}DenseReluDense\.wo\.weight", _T5_STREAM, _T5_FFN_OUT),
    ),
    activation="feed_forward_proj",
)

# A convolution writes `out:` its name and reads `in:` its name; the joins say who reads whom. What a batch norm divides
# by has no sign, so a kernel may turn if the norm's gain turns with it.
_CONV = r"(?P<conv>.+)\."
_KERNEL_SIGN = "norm:{conv}"
_KERNEL = Axis(space="out:{conv}", signs=(_KERNEL_SIGN,))
_READ = Axis(space="in:{conv}", power=-1)
_GAIN = Axis(space="out:{conv}", signs=(_KERNEL_SIGN,), power=1)
_SHIFT = Axis(space="out:{conv}", power=1)
_NORM_RULES = (
    _rule(rf"{_CONV}normalization\.weight", _GAIN),
    _rule(rf"{_CONV}normalization\.bias", _SHIFT),
    _rule(rf"{_CONV}normalization\.running_mean", _KERNEL),
    _rule(rf"{_CONV}normalization\.running_var", Axis(space="out:{conv}")),
    _rule(rf"{_CONV}normalization\.num_batches_tracked"),
)


def _resnet_joins(model: PreTrainedModel) -> Iterator[Join]:
    before = "out:resnet.embedder.embedder"
    blocks = [name for name, _ in model.named_modules() if re.fullmatch(r".*stages\.\d+\.layers\.\d+", name)]
    modules = dict(model.named_modules())
    for block in blocks:
        convs = [f"{block}.layer.{i}" for i in range(99) if hasattr(modules.get(f"{block}.layer.{i}"), "convolution")]
        yield before, f"in:{convs[0]}"
        yield from ((f"out:{a}", f"in:{b}") for a, b in pairwise(convs))
        if f"{block}.shortcut.convolution" in modules:
            yield before, f"in:{block}.shortcut"
            yield f"out:{block}.shortcut", f"out:{convs[-1]}"
        else:
            yield before, f"out:{convs[-1]}"
        before = f"out:{convs[-1]}"
    yield before, "in:classifier"


_RESNET = Family(
    rules=(
        _rule(r"(?P<conv>resnet\.embedder\.embedder)\.convolution\.weight", _KERNEL),
        _rule(rf"{_CONV}convolution\.weight", _KERNEL, _READ),
        *_NORM_RULES,
        _linear(r"classifier\.1", _FIXED, Axis(space="in:classifier", power=-1)),
    ),
    joins=_resnet_joins,
    activation="hidden_act",
)


def _mobilenet_joins(model: PreTrainedModel) -> Iterator[Join]:
    stem = "mobilenet_v2.conv_stem"
    yield f"out:{stem}.first_conv", f"out:{stem}.conv_3x3"
    yield f"out:{stem}.conv_3x3", f"in:{stem}.reduce_1x1"
    before = f"out:{stem}.reduce_1x1"
    for name, block in model.named_modules():
        if not hasattr(block, "use_residual"):
            continue
        yield before, f"in:{name}.expand_1x1"
        yield f"out:{name}.expand_1x1", f"out:{name}.conv_3x3"
        yield f"out:{name}.conv_3x3", f"in:{name}.reduce_1x1"
        if block.use_residual:
            yield before, f"out:{name}.reduce_1x1"
        before = f"out:{name}.reduce_1x1"
    yield before, "in:mobilenet_v2.conv_1x1"
    yield "out:mobilenet_v2.conv_1x1", "in:classifier"


# The bottlenecks between blocks have no activation, so the signs of their channels are arbitrary as well.
_BOTTLENECK_SIGN = "out:{conv}"
_MOBILENET = Family(
    rules=(
        _rule(r"(?P<conv>.+(?:first_conv|conv_3x3))\.convolution\.weight", _KERNEL),
        _rule(
            r"(?P<conv>.+(?:expand_1x1|conv_1x1))\.convolution\.weight",
            _KERNEL,
            Axis(space="in:{conv}", signs=("in:{conv}",)),
        ),
        _rule(r"(?P<conv>.+reduce_1x1)\.convolution\.weight", _KERNEL, Axis(space="in:{conv}")),
        _rule(
            r"(?P<conv>.+reduce_1x1)\.normalization\.weight",
            Axis(space="out:{conv}", signs=(_KERNEL_SIGN, _BOTTLENECK_SIGN)),
        ),
        _rule(r"(?P<conv>.+reduce_1x1)\.normalization\.bias", Axis(space="out:{conv}", signs=(_BOTTLENECK_SIGN,))),
        *_NORM_RULES,
        _linear(r"classifier", _FIXED, Axis(space="in:classifier")),
    ),
    joins=_mobilenet_joins,
    activation="hidden_act",
)

FAMILIES: Mapping[str, Family] = {
    "albert": _ALBERT,
    "bert": _BERT,
    "gpt2": _GPT2,
    "mobilebert": _MOBILEBERT,
    "mobilenet_v2": _MOBILENET,
    "opt": _OPT,
    "resnet": _RESNET,
    "t5": _T5,
    "vit": _VIT,
}
"""`model_type` of transformers -> its symmetries."""

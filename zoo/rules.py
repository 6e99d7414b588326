"""What tensor names mean: ordered tables of patterns, first match wins. Data only; `zoo.roles` reads them.

A pattern of a `Rule` is matched against the end of a tensor's name, without a trailing `.weight`, from the start of a
path component: `query` finds `encoder.layer.0.attention.self.query.weight`, and not `subquery`.
"""

import re
from dataclasses import dataclass, field

from zoo.tensors import Axis, Role

__all__ = [
    "BUFFER_RULES",
    "FUSED_RULES",
    "GATE_AND_UP",
    "KERNEL_RULES",
    "MATRIX_RULES",
    "BufferRule",
    "FusedRule",
    "Rule",
]


def _ending(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|\.)(?:{pattern})$")


@dataclass(frozen=True, slots=True)
class Rule:
    """Tensors whose names end in `pattern` have this role and these axes."""

    pattern: re.Pattern[str]
    role: Role
    row_axis: Axis
    col_axis: Axis
    transposed: bool = False
    """Stored `(in, out)` wherever the name occurs."""
    conv1d: bool = False
    """Stored `(in, out)` in checkpoints that use GPT-2's `Conv1D`, `(out, in)` in the others."""


@dataclass(frozen=True, slots=True)
class FusedRule:
    """Several projections stacked along the out dimension, each a spec of its own."""

    pattern: re.Pattern[str]
    roles: tuple[Role, ...]
    conv1d: bool = False
    labels: tuple[str, ...] = ()
    """What the parts are called, where the roles do not say it."""
    is_ambiguous: bool = False
    """Whether the name alone says nothing of the layout, and the model type has to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferRule:
    """Floating-point tensors that no optimiser ever touched."""

    pattern: re.Pattern[str]
    ndim: int | None = None
    role: Role = Role.OTHER
    requires: re.Pattern[str] = field(default=re.compile(""))
    """Some other name of the checkpoint must match this, where the name alone is ambiguous."""


def _rule(pattern: str, role: Role, rows: Axis, cols: Axis, *, transposed: bool = False, conv1d: bool = False) -> Rule:
    return Rule(_ending(pattern), role, rows, cols, transposed, conv1d)


_QUERY, _KEY, _VALUE = Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE
_RESIDUAL, _ATTENTION, _HIDDEN = Axis.RESIDUAL, Axis.ATTENTION, Axis.HIDDEN
_VOCABULARY, _LABEL, _POSITION, _CHANNEL = Axis.VOCABULARY, Axis.LABEL, Axis.POSITION, Axis.CHANNEL

MATRIX_RULES: tuple[Rule, ...] = (
    # Heads. First, because `output`, `dense` and `fc` also occur inside blocks.
    _rule(r"fit_denses\.\d+", Role.HEAD, _RESIDUAL, _RESIDUAL),  # TinyBERT: onto its teacher's width.
    _rule(r"cls\.predictions\.dense", Role.HEAD, _VOCABULARY, _RESIDUAL, transposed=True),  # MobileBERT alone.
    _rule(
        r"(?:cls\.predictions|predictions|lm_head)\.decoder|(?:generator_)?lm_head|lm_loss|vocab_projector|proj_out|embed_out",
        Role.HEAD,
        _VOCABULARY,
        _RESIDUAL,
    ),
    _rule(
        r"predictions\.transform\.dense|vocab_transform|(?:lm_head|\w*predictions|head|classifier)\.dense"
        r"|pooler(?:\.dense)?|pre_classifier|(?:text|visual)_projection|(?<!attention\.)project_(?:hid|q)",
        Role.HEAD,
        _RESIDUAL,
        _RESIDUAL,
    ),
    # The codebook that wav2vec 2 was trained against, and what chooses in it.
    _rule(r"quantizer\.(?:weight_proj|codevectors)", Role.HEAD, _VOCABULARY, _RESIDUAL),
    _rule(
        r"seq_relationship|(?<!router\.)\w*classifier(?:\.classifier|\.out_proj|\.\d+)?|\w*predictions\.(?:dense_prediction|classifier)"
        r"|qa_outputs|score|heads?\.head",
        Role.HEAD,
        _LABEL,
        _RESIDUAL,
    ),
    Rule(re.compile(r"^output$"), Role.HEAD, _VOCABULARY, _RESIDUAL),  # GGUF's; a classifier's is `fc` or `head`.
    Rule(re.compile(r"^(?:\w+\.)?(?:fc|head|output)$"), Role.HEAD, _LABEL, _RESIDUAL),
    Rule(re.compile(r"^decoder$"), Role.HEAD, _VOCABULARY, _RESIDUAL),
    # Embeddings.
    _rule(r"relative_attention_bias|relative_position_bias_table", Role.POSITION_EMBEDDING, _POSITION, _ATTENTION),
    _rule(
        r"(?:position|rel)_embeddings?|positional_embedding|positions_embed|embed_positions|position_embd|wpe|(?:\w+_)?pos_embed",
        Role.POSITION_EMBEDDING,
        _POSITION,
        _RESIDUAL,
    ),
    _rule(
        r"(?:word|token|token_type|tok|class|lang)_embeddings?|embed_tokens|tokens_embed|embed_in|token_embd|wte|shared"
        r"|(?:cls|dist|distillation|mask|register)_tokens?|masked_spec_embed|embeddings?",
        Role.TOKEN_EMBEDDING,
        _VOCABULARY,
        _RESIDUAL,
    ),
    # Changes of width between the residual stream and something narrower.
    _rule(r"output\.bottleneck\.dense", Role.BOTTLENECK, _RESIDUAL, _HIDDEN),
    _rule(r"bottleneck\.(?:input|attention)\.dense|project_out", Role.BOTTLENECK, _HIDDEN, _RESIDUAL),
    _rule(
        r"embeddings_project|embedding_hidden_mapping_in|embedding_transformation|project_in|feature_projection\.projection",
        Role.BOTTLENECK,
        _RESIDUAL,
        _HIDDEN,
    ),
    _rule(r"downsample\.reduction", Role.BOTTLENECK, _RESIDUAL, _RESIDUAL),
    _rule(r"(?:mixer|mamba)\.out_proj", Role.OTHER, _RESIDUAL, _HIDDEN),  # A state space model's, not attention's.
    # Where there are experts (`zoo.roles` looks), what chooses them.
    _rule(
        r"\w*router(?:\.(?:layer|classifier|weight|proj))?|(?:\w*mlp|\w*moe|feed_forward|ffn)\.(?:w?gate|gate\.wg)|ffn_gate_inp",
        Role.ROUTER,
        _HIDDEN,
        _RESIDUAL,
    ),
    # Attention.
    _rule(r"q_attn", _QUERY, _ATTENTION, _RESIDUAL, conv1d=True),
    _rule(r"query(?:_proj)?|q_proj|q_lin|linear_q|to_q|attn_q|wq|q", _QUERY, _ATTENTION, _RESIDUAL),
    _rule(r"key(?:_proj)?|k_proj|k_lin|linear_k|to_k|attn_k|wk|k", _KEY, _ATTENTION, _RESIDUAL),
    _rule(r"value(?:_proj)?|v_proj|v_lin|linear_v|to_v|attn_v|wv|v", _VALUE, _ATTENTION, _RESIDUAL),
    _rule(r"\w*attn\.c_proj|\w*attention\.c_proj", Role.ATTENTION_OUTPUT, _RESIDUAL, _ATTENTION, conv1d=True),
    _rule(
        r"\w*(?:[Aa]ttention|_att)\.(?:output\.dense|dense|o|wo)|\w*attn\.(?:dense|proj(?:ection)?|Wo)"
        r"|out_proj|o_proj|attn_output|out_lin|linear_out|to_out(?:\.0)?",
        Role.ATTENTION_OUTPUT,
        _RESIDUAL,
        _ATTENTION,
    ),
    # Of all experts below each other, where no configuration says how many they are.
    _rule(r"experts\.mlp\.(?:w1|v1|w2|w3)", Role.OTHER, _HIDDEN, _RESIDUAL),
    # Feed-forward pairs.
    _rule(r"c_fc", Role.FFN_IN, _HIDDEN, _RESIDUAL, conv1d=True),
    _rule(
        r"intermediate\.dense|intermediate_dense|ffn|lin1|linear1|fc1|fc_in|gate_proj|up_proj|ffn_(?:gate|up)(?:_shexp)?|wi(?:_\d)?|Wi"
        r"|w1|w3|experts\.mlp\.\d+\.v1|dense_h_to_4h|pwconv1|mlp\.dense1|ff\.layer_1",
        Role.FFN_IN,
        _HIDDEN,
        _RESIDUAL,
    ),
    _rule(r"c_proj", Role.FFN_OUT, _RESIDUAL, _HIDDEN, conv1d=True),
    _rule(
        r"output\.dense|output_dense|ffn_output|lin2|linear2|fc2|fc_out|down_proj|ffn_down(?:_shexp)?|wo|Wo|w2|dense_4h_to_h|pwconv2|mlp\.dense2"
        r"|ff\.layer_2",
        Role.FFN_OUT,
        _RESIDUAL,
        _HIDDEN,
    ),
)
"""For matrices, and for vectors and stacks that are embeddings."""

KERNEL_RULES: tuple[Rule, ...] = (
    _rule(
        r"patch_embed\w*(?:\.\d+)?(?:\.proj(?:ection)?)?|embeddings\.proj(?:ection)?|patch_conv|conv_proj|visual\.conv1",
        Role.PATCH_EMBEDDING,
        _RESIDUAL,
        _POSITION,
    ),
    # A stem reads pixels, whose order is real. On grey images and on sound its kernels have one input channel, as
    # depthwise ones do.
    _rule(
        r"conv_stem(?:\.first_conv)?(?:\.convolution)?|(?:embedder(?:\.embedder)?|embeddings)\.convolution"
        r"|stem\.(?:0|conv1?)"
        r"|features\.(?:0|0\.0|conv0)|(?<!predictor\.)conv_layers\.0\.conv",
        Role.CONVOLUTION,
        _CHANNEL,
        _POSITION,
    ),
    # Whisper's first one reads bands of sound, whose order is as real.
    Rule(
        re.compile(r"^(?:(?!decoder|embedder)\w+\.)?conv1$|(?:^|\.)(?:encoder|audio_tower)\.conv1$"),
        Role.CONVOLUTION,
        _CHANNEL,
        _POSITION,
    ),
)
"""For convolution kernels; the shape decides for those that match no rule."""

GATE_AND_UP = FusedRule(_ending(r"gate_up_proj"), (Role.FFN_IN, Role.FFN_IN), labels=("gate", "up"))
FUSED_RULES: tuple[FusedRule, ...] = (
    FusedRule(_ending(r"crossattention\.c_attn"), (_KEY, _VALUE), conv1d=True),
    FusedRule(_ending(r"c_attn"), (_QUERY, _KEY, _VALUE), conv1d=True),
    FusedRule(_ending(r"qkv|qkv_proj|attn_qkv|in_proj_weight|Wqkv|W_pack"), (_QUERY, _KEY, _VALUE)),
    FusedRule(_ending(r"query_key_value|wqkv"), (_QUERY, _KEY, _VALUE), is_ambiguous=True),
    GATE_AND_UP,
)
"""Which parts there are, in the usual order; `zoo.fused` knows where they lie."""

BUFFER_RULES: tuple[BufferRule, ...] = (
    # Causal masks. `c_attn.bias` is a real bias, and so is an `attn.bias` of one dimension.
    BufferRule(pattern=_ending(r"(?:attn|\w*attention)\.bias"), ndim=4),
    BufferRule(pattern=_ending(r"(?:attn|\w*attention)\.masked_bias")),
    BufferRule(pattern=_ending(r"running_mean|running_var|num_batches_tracked"), role=Role.NORM),
    BufferRule(pattern=_ending(r"inv_freq|final_logits_bias")),
    # Whisper's encoder adds a fixed sinusoid; BART's tensor of the same name is trained, but BART has no convolutions.
    BufferRule(
        pattern=_ending(r"encoder\.embed_positions"),
        role=Role.POSITION_EMBEDDING,
        requires=_ending(r"encoder\.conv1"),
    ),
)
"""Integers are not listed: they are known by dtype, never by name."""

"""Small sizes for any configuration of `transformers`, by the names that it gives its settings."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

__all__ = ["HEADS", "IMAGE", "KEPT_TOKENS", "PATCH", "VOCABULARY", "WIDTH", "Shrink", "shrink"]

VOCABULARY = 64
WIDTH, HEADS, HIDDEN, LAYERS, POSITIONS, IMAGE, PATCH = 32, 4, 64, 2, 64, 32, 8
KEPT_TOKENS = 16
"""Tokens below this number have a meaning of their own (padding, first, last, a place for an image)."""
SIZES: tuple[tuple[int, str], ...] = (
    (
        WIDTH,
        "hidden_size d_model d_latents n_embd dim embed_dim decoder_hidden_size encoder_hidden_size hidden_dim "
        "projection_dim embedding_size proj_codevector_dim codevector_dim fusion_hidden_size embedding_dim "
        "text_hidden_size vision_hidden_size out_hidden_size output_dim lru_width encoder_hidden_dim "
        "decoder_input_dim fpn_hidden_dim feature_size mask_feature_size model_dim attention_hidden_size "
        "classifier_proj_size output_hidden_size word_embed_proj_dim n_embed emb_dim "
        "cross_attention_hidden_size pooler_output_size last_hidden_size entity_emb_size qk_rope_dim "
        "audio_hidden_size d_embed bottleneck_features feature_dim max_source_positions",
    ),
    (
        HEADS,
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads "
        "decoder_num_attention_heads num_self_attention_heads num_cross_attention_heads attention_heads "
        "num_attention_heads_text encoder_num_attention_heads pred_num_attention_heads",
    ),
    (
        HIDDEN,
        "intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim mlp_dim moe_intermediate_size "
        "decoder_intermediate_size ffn_hidden_size n_inner dim_feedforward shared_expert_intermediate_size "
        "encoder_intermediate_size d_inner expert_ffn_hidden_size prefix_hidden_size mamba_d_ssm",
    ),
    (
        LAYERS,
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers depth num_decoder_layers "
        "num_encoder_layers decoder_num_hidden_layers num_blocks_per_stage encoder_num_layers "
        "decoder_num_layers num_self_attends_per_block e_layers x_layers l_layers r_layers decoder_depth "
        "predictor_num_hidden_layers num_conv_pos_embedding_layers pred_num_hidden_layers t_layers",
    ),
    (VOCABULARY, "vocab_size src_vocab_size tgt_vocab_size decoder_vocab_size entity_vocab_size n_token d_vocab"),
    (VOCABULARY, "text_vocab_size num_labels_pretrain vocab_size_per_layer_input encoder_hash_byte_group_vocab"),
    (
        POSITIONS,
        "max_position_embeddings n_positions max_target_positions max_seq_len max_2d_position_embeddings "
        "seq_length max_sequence_length n_ctx max_seq_length decoder_max_position_embeddings "
        "original_max_position_embeddings max_length_positions",
    ),
    (IMAGE, "image_size img_size pretrain_image_size crop_size input_image_size"),
    (PATCH, "patch_size"),
    (
        16,
        "head_dim d_kv qk_nope_head_dim v_head_dim index_head_dim q_lora_rank kv_lora_rank qk_head_dim "
        "moe_latent_size audio_num_mel_bins",
    ),
    (
        8,
        "qk_rope_head_dim num_mel_bins rotary_dim attention_head_size linear_key_head_dim mamba_head_dim "
        "linear_value_head_dim mamba_d_state state_size attention_key_size mamba_d_head rope_dim "
        "mamba_n_heads mamba_num_heads num_position_embeddings_per_axis model_in_dim",
    ),
    (
        4,
        "num_experts n_routed_experts num_local_experts index_topk num_queries linear_num_value_heads "
        "n_mels_min num_codevectors_per_group num_conv_pos_embedding_groups num_filters "
        "index_n_heads codebook_size_min moe_num_experts num_latents num_learnable_queries norm_num_groups num_groups "
        "mm_tokens_per_image latent_query_num",
    ),
    (
        2,
        "num_key_value_heads num_experts_per_tok linear_num_key_heads top_k moe_topk n_shared_experts "
        "num_kv_heads moe_k n_kv_heads sinkhorn_iterations num_experts_per_token",
    ),
    (
        1,
        "n_group topk_group mamba_n_groups n_groups decoder_sparse_step temporal_patch_size first_k_dense_replace",
    ),
    (10, "num_labels"),
    (3 * PATCH * PATCH, "patch_embed_hidden_size"),
    (5, "coordinate_size"),
    (6, "shape_size"),
    (32, "upsample_groups context_length"),
    (4, "prediction_length"),
    (1, "num_blocks"),
    (0, "num_kv_shared_layers"),
)
"""Small size -> settings that have it."""
SMALL: Mapping[str, int] = {name: size for size, names in SIZES for name in names.split()}


class Shrink(IntEnum):
    """What is made small; where settings hang together in a way that names do not tell, less has to do."""

    ALL = 0
    PLAIN = 1
    """Heads that are together as wide as the model, and a value for what is left open."""
    NUMBERS = 2
    """No lists of widths."""
    DEPTH = 3
    """Layers, vocabulary and positions alone."""
    NOTHING = 4


DEPTHS = frozenset(name for size, names in SIZES for name in names.split() if size in (LAYERS, VOCABULARY, POSITIONS))


def shrink(config: Any, how: Shrink = Shrink.ALL) -> Any:
    """The same kind of configuration with small sizes, parts included."""
    from transformers import PretrainedConfig

    settings = {name: value for name, value in vars(config).items() if not name.startswith("_")}
    layers = next((settings[name] for name in COUNTS if isinstance(settings.get(name), int)), 0)
    if len(config.__dict__.get("_out_indices") or ()) > LAYERS and isinstance(settings.get("depths"), list | tuple):
        layers = 0  # Those are stages, and all that are given out have to stay.
    widths: dict[int, int] = {}
    for name, value in sorted(settings.items(), key=lambda item: not isinstance(item[1], PretrainedConfig)):
        if isinstance(value, PretrainedConfig):
            before = _at_hand(value)
            listed = _lists(before)
            new: Any = shrink(before, how)
            widths |= _became(listed, _lists(new))
        elif isinstance(value, list | tuple) and _are_channels(value, settings) and all(v in widths for v in value):
            new = [widths[v] for v in value]  # Of the channels that a part gives out.
        else:
            new = _small(name, value, settings, layers, how)
        if new is not value:
            # Each class checks its settings together, so one alone cannot be set.
            config.__dict__[name] = new
    own = config.__dict__
    if how <= Shrink.NUMBERS:
        _agree(own)
    if how is Shrink.PLAIN:
        _fill(own)
    return config


def _are_channels(value: Sequence[Any], settings: Mapping[str, Any]) -> bool:
    """Whether these may be channels of several stages; all of the model's own width they are its own."""
    own = (settings.get("hidden_size"), settings.get("d_model"))
    return bool(value) and all(type(v) is int for v in value) and not all(v in own for v in value)


def _lists(config: Any) -> dict[str, list[int]]:
    """Widths by stage, as they stand in a part."""
    found = {name: list(value) for name, value in vars(config).items() if isinstance(value, list | tuple)}
    return {
        name: value
        for name, value in found.items()
        if all(type(v) is int for v in value) and max(value, default=0) >= 64
    }


def _became(before: Mapping[str, list[int]], after: Mapping[str, list[int]]) -> dict[int, int]:
    """Width -> what it is in the small part, for lists that are as long as they were."""
    pairs = [(before[name], after[name]) for name in before if len(after.get(name, ())) == len(before[name])]
    return {old: new for olds, news in pairs for old, new in zip(olds, news, strict=True) if old >= 16}


def _at_hand(config: Any) -> Any:
    """A backbone of `timm`, which is no part of `transformers`, is replaced by one with as many stages."""
    if config.model_type != "timm_backbone":
        return config
    from transformers import ResNetConfig

    count = len(config.out_indices or [1])
    settings: dict[str, Any] = {"out_features": [f"stage{stage}" for stage in range(5 - count, 5)]}
    return ResNetConfig(**settings)


def _fill(own: dict[str, Any]) -> None:
    """What is left open, and follows from nothing else in the code of some models."""
    for name, value in own.items():
        if value is None and name in SMALL and name not in OPEN:
            own[name] = SMALL[name]
    if isinstance(own.get("head_dim"), int):
        own["head_dim"] = WIDTH // HEADS
    for name in ("rope_parameters", "rope_scaling"):
        if isinstance(own.get(name), dict) and "rope_theta" in own[name]:
            own[name] = _sectioned(own[name], WIDTH // HEADS)


OPEN = frozenset({"num_key_value_heads", "n_inner", "ffn_dim", "q_lora_rank", "prefix_hidden_size"})
"""Settings that mean something when they are `None`."""


def _agree(own: dict[str, Any]) -> None:
    """Settings that follow from others."""
    _agree_stages(own)
    if isinstance(own.get("width_coefficient"), float) and own.get("hidden_dim") == WIDTH:
        # EfficientNet's last convolution has 1,280 channels times this, whatever is said of the others.
        own["width_coefficient"] = WIDTH / 1280
    if all(isinstance(own.get(name), int) for name in ("image_embedding_size", "image_size", "patch_size")):
        own["image_embedding_size"] = own["image_size"] // own["patch_size"]
    seen, asked = own.get("vision_config"), own.get("prompt_encoder_config")
    if seen is not None and asked is not None and hasattr(seen, "output_channels") and hasattr(asked, "hidden_size"):
        # What is asked is added to what is seen, and so are waves and their opposites.
        seen.__dict__ |= {"output_channels": asked.hidden_size, "num_pos_feats": asked.hidden_size // 2}
    if all(isinstance(own.get(name), int) for name in ("patch_dim", "num_channels", "patch_size")):
        own["patch_dim"] = own["num_channels"] * own["patch_size"] ** 2
    if isinstance(own.get("pixel_shuffle_ratio"), float) and own.get("intermediate_size") == HIDDEN:
        # What is behind the shuffle reads the hidden units of several places.
        own["intermediate_size"] = int(own["hidden_size"] / own["pixel_shuffle_ratio"] ** 2)
    if isinstance(own.get("vision_output_dim"), int) and isinstance(own.get("intermediate_layers_indices"), list):
        # What goes out is the last layer beside those that are named.
        own["vision_output_dim"] = own["hidden_size"] * (1 + len(own["intermediate_layers_indices"]))
    if isinstance(own.get("qk_nope_head_dim"), int) and isinstance(own.get("qk_rope_head_dim"), int):
        # Part of a head's dimensions has positions; some classes call that part `head_dim`.
        own["qk_head_dim"] = own["qk_nope_head_dim"] + own["qk_rope_head_dim"]
        if "head_dim" in own:
            own["head_dim"] = own["qk_rope_head_dim"]


def _agree_stages(own: dict[str, Any]) -> None:
    """A backbone has a layer for each stage that it gives out."""
    given = own.get("_out_indices") or []
    if isinstance(own.get("num_hidden_layers"), int) and isinstance(own.get("stage_names"), list) and given:
        stages = own["depths"] if isinstance(own.get("depths"), list) else given
        layers = own["num_hidden_layers"] = max(LAYERS, len(given), len(stages))
        names = own["stage_names"] = ["stem", *(f"stage{stage}" for stage in range(1, layers + 1))]
        own["_out_indices"] = list(range(layers + 1 - len(given), layers + 1))
        own["_out_features"] = [names[index] for index in own["_out_indices"]]


def _sectioned(rope: Mapping[str, Any], width: int) -> dict[str, Any]:
    """Rotary settings with sections for time, height and width that fit a head."""
    half = int(width * rope.get("partial_rotary_factor", 1.0)) // 2
    part = max(1, half * 3 // 8)
    return {**rope, "mrope_section": [half - 2 * part, part, part]}


def _small(name: str, value: Any, settings: Mapping[str, Any], layers: int, how: Shrink) -> Any:
    """The small size of one setting."""
    if name == "vocab_size" and value is None:
        return VOCABULARY
    if value is None and name.endswith(TOKENS) and name.startswith(PLACES[:3]):
        return _special(name, VOCABULARY)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return _small_number(name, value, settings, layers, how)
    if isinstance(value, list | tuple) and value:
        return _small_list(name, list(value), settings, layers, how)
    if isinstance(value, dict) and name.endswith("patch_to_query_dict") and how <= Shrink.NUMBERS:
        return {(IMAGE // PATCH) ** 2: LAYERS * HEADS}
    if isinstance(value, dict) and "mrope_section" in value and how <= Shrink.NUMBERS:
        return _sectioned(value, 16 if settings.get("head_dim") and how is not Shrink.PLAIN else WIDTH // HEADS)
    return value


def _small_number(name: str, value: int, settings: Mapping[str, Any], layers: int, how: Shrink) -> int:
    if name.endswith(TOKENS):
        return _special(name, value)
    if how is Shrink.NOTHING or (how is Shrink.DEPTH and name not in DEPTHS):
        return value
    if name.endswith("_layer_id") and 0 <= value < layers and layers > LAYERS:
        return value * LAYERS // layers
    if name == "num_key_value_heads" and value == settings.get("num_attention_heads"):
        return HEADS
    if name in SMALL:
        # A setting that is nought or less switches something off.
        return min(value, SMALL[name]) if value > 0 else value
    if value >= 96 and name.endswith(WIDTHS):
        return WIDTH
    return value


COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "depth")
"""Settings that say how many layers there are, the surest first."""
TOKENS = ("token_id", "token_index")
WIDTHS = ("_dim", "_size", "_channels", "_channel", "_width", "_rank", "_features", "_filters", "_dimension")
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "sep_token_id": 3,
           "cls_token_id": 4, "unk_token_id": 5, "mask_token_id": 6}  # fmt: skip
PLACES = ("image", "video", "audio", "start", "begin", "bos", "end", "eos")
"""Part of the name of a token with a meaning of its own -> its number, behind those of `SPECIAL`."""


def _special(name: str, value: int) -> int:
    """The number of a token with a meaning of its own, among `KEPT_TOKENS`."""
    if value < 0:
        return value
    if name in SPECIAL:
        return SPECIAL[name]
    whole = name.removesuffix("_id").removesuffix("_index").removesuffix("_token")
    if whole in PLACES[:3]:
        return 7 + PLACES.index(whole)
    return 10 + sum(map(ord, name)) % (KEPT_TOKENS - 10) if value >= KEPT_TOKENS else value


def _small_list(name: str, value: list[Any], settings: Mapping[str, Any], layers: int, how: Shrink) -> list[Any]:
    if name.endswith(("token_id", "token_ids")) and all(isinstance(v, int) for v in value):
        return [min(v, 8) for v in value]
    if layers > LAYERS and len(value) == layers and how <= Shrink.DEPTH:
        return _varied(value)
    if name.endswith(("_indexes", "_layer_indices", "_layers_indices")) and layers > LAYERS > 0 and how <= Shrink.DEPTH:
        return _within(value, layers)
    if name == "gnn_layers_types" and how <= Shrink.DEPTH:
        return value[:LAYERS]
    if name.endswith("_feature_layers") and how <= Shrink.DEPTH and all(type(v) is int for v in value):
        return [max(v, -LAYERS) if v < 0 else min(v, LAYERS - 1) for v in value]
    if name.endswith(("pinpoints", "resolutions")):
        return [[IMAGE, IMAGE]] if how < Shrink.DEPTH else value[:1]
    if name.startswith("image_size") and how <= Shrink.NUMBERS and all(type(v) is int for v in value):
        return [IMAGE] * len(value)
    if how > Shrink.PLAIN:
        return value
    if name in ("depths", "num_blocks", "layers", "num_layers"):
        return [1] * len(value) if all(isinstance(v, int) for v in value) else value
    if name in ("num_heads", "num_attention_heads", "encoder_num_heads") and all(isinstance(v, int) for v in value):
        return [2] * len(value)
    if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        if max(value) >= 64 and name not in ("out_indices",) and not name.endswith(("kernel", "stride", "ids")):
            is_own = value[0] == min(value) and value[0] in (settings.get("hidden_size"), settings.get("d_model"))
            first = WIDTH if is_own else 16
            return [first * max(1, min(4, round(v / max(1, min(value))))) for v in value]
    return value


def _varied(values: list[Any]) -> list[Any]:
    """Of one setting for each layer: two that differ, if any do."""
    other = next((value for value in values if value != values[0]), values[0])
    return [values[0], other]


def _within(numbers: list[Any], layers: int) -> list[Any]:
    """Of numbers of layers the last, where a few stand for many: so that one of the other kind is left beside it."""
    if not all(type(number) is int and 0 <= number < layers for number in numbers):
        return numbers
    return [numbers[-1] * LAYERS // layers]

"""Builds a tiny model of any architecture of the installed `transformers`, and inputs that it runs on.

Sizes in the configuration are made small by the names that `transformers` gives them. No code or weight is fetched.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["VOCABULARY", "TinyModel", "build_tiny", "model_types", "randomise", "shrink", "tiny_of"]

VOCABULARY = 64
WIDTH, HEADS, HIDDEN, LAYERS, POSITIONS, IMAGE, PATCH = 32, 4, 48, 2, 64, 32, 8
TEXT = (2, 8)
"""Sequences and tokens in each."""
MOST_PARAMETERS = 12_000_000
SIZES: tuple[tuple[int, str], ...] = (
    (
        WIDTH,
        "hidden_size d_model n_embd dim embed_dim decoder_hidden_size encoder_hidden_size hidden_dim "
        "projection_dim embedding_size proj_codevector_dim codevector_dim fusion_hidden_size embedding_dim "
        "text_hidden_size vision_hidden_size out_hidden_size output_dim lru_width encoder_hidden_dim "
        "decoder_input_dim fpn_hidden_dim feature_size mask_feature_size model_dim attention_hidden_size "
        "classifier_proj_size output_hidden_size word_embed_proj_dim n_embed emb_dim "
        "cross_attention_hidden_size pooler_output_size last_hidden_size entity_emb_size qk_rope_dim "
        "audio_hidden_size d_embed bottleneck_features feature_dim max_source_positions mamba_d_ssm",
    ),
    (
        HEADS,
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads "
        "decoder_num_attention_heads num_self_attention_heads num_cross_attention_heads attention_heads "
        "num_attention_heads_text encoder_num_attention_heads",
    ),
    (
        HIDDEN,
        "intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim mlp_dim moe_intermediate_size "
        "decoder_intermediate_size ffn_hidden_size n_inner dim_feedforward shared_expert_intermediate_size "
        "encoder_intermediate_size d_inner expert_ffn_hidden_size prefix_hidden_size",
    ),
    (
        LAYERS,
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers depth num_decoder_layers "
        "num_encoder_layers decoder_num_hidden_layers num_blocks_per_stage encoder_num_layers "
        "decoder_num_layers num_self_attends_per_block e_layers x_layers l_layers r_layers decoder_depth "
        "predictor_num_hidden_layers num_conv_pos_embedding_layers pred_num_hidden_layers t_layers",
    ),
    (VOCABULARY, "vocab_size src_vocab_size tgt_vocab_size decoder_vocab_size entity_vocab_size n_token d_vocab"),
    (VOCABULARY, "text_vocab_size num_labels_pretrain"),
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
        "mamba_n_heads mamba_num_heads num_position_embeddings_per_axis",
    ),
    (
        4,
        "num_experts n_routed_experts num_local_experts index_topk num_queries linear_num_value_heads "
        "n_mels_min num_codevectors_per_group num_conv_pos_embedding_groups "
        "index_n_heads codebook_size_min moe_num_experts num_latents num_learnable_queries norm_num_groups num_groups",
    ),
    (
        2,
        "num_key_value_heads num_experts_per_tok linear_num_key_heads top_k moe_topk n_shared_experts "
        "num_kv_heads moe_k n_kv_heads",
    ),
    (
        1,
        "n_group topk_group mamba_n_groups n_groups decoder_sparse_step temporal_patch_size first_k_dense_replace",
    ),
    (10, "num_labels"),
)
"""Small size -> settings that have it."""
SMALL: Mapping[str, int] = {name: size for size, names in SIZES for name in names.split()}
MAPPINGS = (
    "MODEL_FOR_MASKED_LM_MAPPING",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
    "MODEL_FOR_CTC_MAPPING",
    "MODEL_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_OBJECT_DETECTION_MAPPING",
    "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING",
    "MODEL_FOR_DEPTH_ESTIMATION_MAPPING",
    "MODEL_FOR_PRETRAINING_MAPPING",
    "MODEL_FOR_BACKBONE_MAPPING",
    "MODEL_FOR_KEYPOINT_DETECTION_MAPPING",
    "MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING",
    "MODEL_FOR_TIME_SERIES_PREDICTION_MAPPING",
    "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING",
    "MODEL_FOR_TEXT_ENCODING_MAPPING",
)
"""Which class stands for an architecture: the first that has one and runs."""


@dataclass(slots=True)
class TinyModel:
    """A model in float64 with random weights, and inputs."""

    model: nn.Module
    inputs: dict[str, Any]
    tokens: list[Tensor]
    vocabulary: int

    def run(self) -> Any:
        """Call the model, all in float64 and in plain operations."""
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(_Doubles())  # type: ignore[no-untyped-call]
            return self.model(**self.inputs)


class _Doubles(TorchDispatchMode):  # type: ignore[no-untyped-call]  # Torch has no annotation there.
    """Keeps float64 where a model asks for less: symmetries are exact, rounding is not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("dtype") in (torch.float32, torch.float16, torch.bfloat16):
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)


def model_types() -> list[str]:
    """All that the installed `transformers` has code for."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return sorted(CONFIG_MAPPING.keys())


def build_tiny(model_type: str, seed: int = 0) -> TinyModel:
    """A tiny model of this type.

    Raises `RuntimeError`, with the last error, where no class of the type is built or runs.
    """
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    errors: list[str] = []
    registered = [getattr(modeling_auto, name) for name in MAPPINGS]
    found = [mapping[kind] for mapping in registered if kind in mapping]
    classes = [each[0] if isinstance(each, tuple) else each for each in found]
    for model_class in classes or _classes_of(kind):
        try:
            return tiny_of(model_class, shrink(kind()), seed)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}"[:160].replace("\n", " "))
    raise RuntimeError(errors[-1] if errors else "no class is known for it")


def _classes_of(kind: Any) -> list[Any]:
    """Models of this configuration that no auto class knows: towers of larger models."""
    from transformers import PreTrainedModel

    module = importlib.import_module(kind.__module__.replace("configuration_", "modeling_"))
    classes = [each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, PreTrainedModel)]
    return [each for each in classes if each.config_class is kind and not each.__name__.endswith("PreTrainedModel")]


def tiny_of(model_class: Any, config: Any, seed: int = 0) -> TinyModel:
    """A model of this class and configuration that runs on inputs that are made for it."""
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in _new(model_class, config).parameters())
    if size > MOST_PARAMETERS:
        raise RuntimeError(f"{size:,} parameters are too many for a tiny model")
    torch.manual_seed(seed)
    model = _new(model_class, config).double().eval()
    randomise(model, torch.Generator().manual_seed(seed))
    errors: list[str] = []
    for inputs in _inputs(model, config):
        try:
            tiny = TinyModel(model, inputs, [inputs[name] for name in inputs if name.endswith("input_ids")], VOCABULARY)
            with torch.no_grad():
                tiny.run()
            return tiny
        except Exception as error:
            errors.append(f"{'+'.join(inputs)}: {type(error).__name__}: {error}"[:160])
    raise RuntimeError(errors[0] if errors else "no inputs are known")


def _new(model_class: Any, config: Any) -> nn.Module:
    if "generat" in model_class.__name__:
        raise RuntimeError("generates only")
    model: nn.Module = model_class._from_config(config, attn_implementation="eager", experts_implementation="eager")
    return model


def randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Away from what is special: biases of nought, gains of one, equal rows."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if (
                not tensor.numel()
                or not tensor.dtype.is_floating_point
                or (name not in dict(model.named_parameters()) and "running" not in name)
            ):
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            if name.endswith("running_var"):
                tensor.copy_(noise.abs() + 0.5)
            elif tensor.ndim > 1:
                tensor.add_(noise, alpha=1.3 * (tensor[0].numel() + 1) ** -0.5)
            else:
                tensor.add_(noise, alpha=0.2)


def shrink(config: Any) -> Any:
    """The same kind of configuration with small sizes, parts included."""
    from transformers import PretrainedConfig

    settings = {name: value for name, value in vars(config).items() if not name.startswith("_")}
    layers = next(
        (settings[n] for n in ("num_hidden_layers", "n_layer", "num_layers") if isinstance(settings.get(n), int)), 0
    )
    for name, value in settings.items():
        if isinstance(value, PretrainedConfig):
            new: Any = shrink(value)
        else:
            new = _small(name, value, settings, layers)
        if new is not value:
            # Each class checks its settings together, so one alone cannot be set.
            config.__dict__[name] = new
    own = config.__dict__
    if isinstance(own.get("qk_nope_head_dim"), int) and isinstance(own.get("qk_rope_head_dim"), int):
        # Part of a head's dimensions has positions; some classes call that part `head_dim`.
        own["qk_head_dim"] = own["qk_nope_head_dim"] + own["qk_rope_head_dim"]
        if "head_dim" in own:
            own["head_dim"] = own["qk_rope_head_dim"]
    return config


def _small(name: str, value: Any, settings: Mapping[str, Any], layers: int) -> Any:
    """The small size of one setting."""
    if name == "vocab_size" and value is None:
        return VOCABULARY
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return _small_number(name, value, settings)
    if isinstance(value, list | tuple) and value:
        return _small_list(name, list(value), layers)
    if isinstance(value, dict) and "mrope_section" in value:
        half = int((16 if settings.get("head_dim") else WIDTH // HEADS) * value.get("partial_rotary_factor", 1.0)) // 2
        part = max(1, half * 3 // 8)
        return {**value, "mrope_section": [half - 2 * part, part, part]}
    return value


def _small_number(name: str, value: int, settings: Mapping[str, Any]) -> int:
    if name.endswith(("token_id", "token_index")):
        return _special(name, value)
    if name == "num_key_value_heads" and value == settings.get("num_attention_heads"):
        return HEADS
    if name in SMALL:
        # A setting that is nought or less switches something off.
        return min(value, SMALL[name]) if value > 0 else value
    if value >= 96 and name.endswith(("_dim", "_size", "_channels", "_width", "_rank", "_features", "_filters")):
        return WIDTH
    return value


def _special(name: str, value: int) -> int:
    known = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "sep_token_id": 3,
             "cls_token_id": 4, "unk_token_id": 5, "mask_token_id": 6}  # fmt: skip
    if value < 0:
        return value
    return known.get(name, 7 + sum(map(ord, name)) % 2 if value >= VOCABULARY else value)


def _small_list(name: str, value: list[Any], layers: int) -> list[Any]:
    if name in ("depths", "num_blocks", "layers", "num_layers"):
        return [1] * len(value) if all(isinstance(v, int) for v in value) else value
    if name in ("num_heads", "num_attention_heads", "encoder_num_heads") and all(isinstance(v, int) for v in value):
        return [2] * len(value)
    if layers > LAYERS and len(value) == layers:
        return _varied(value)
    if name.endswith(("token_id", "token_ids")) and all(isinstance(v, int) for v in value):
        return [min(v, 8) for v in value]
    if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        if name.startswith("image_size"):
            return [IMAGE] * len(value)
        if max(value) >= 64 and name not in ("out_indices",) and not name.endswith(("kernel", "stride", "ids")):
            return [16 * max(1, min(4, round(v / max(1, min(value))))) for v in value]
    return value


def _varied(values: list[Any]) -> list[Any]:
    """Of one setting for each layer: two that differ, if any do."""
    other = next((value for value in values if value != values[0]), values[0])
    return [values[0], other]


def _inputs(model: nn.Module, config: Any) -> Iterator[dict[str, Any]]:
    """Inputs by what the model's `forward` takes, the most complete first."""
    names = set(inspect.signature(model.forward).parameters)
    generator = torch.Generator().manual_seed(1)

    def ids(shape: tuple[int, ...] = TEXT) -> Tensor:
        return torch.randint(10, VOCABULARY, shape, generator=generator)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    fixed: dict[str, Any] = {}
    if "use_cache" in names:
        fixed["use_cache"] = False
    text = {"input_ids": ids()} if "input_ids" in names else {}
    decoder = {"decoder_input_ids": ids()} if "decoder_input_ids" in names else {}
    seen: list[dict[str, Any]] = [{}]
    if "pixel_values" in names:
        seen = [{"pixel_values": pixels} for pixels in _images(config, noise)]
    elif "pixel_values_videos" in names:
        seen = [{"pixel_values_videos": noise(2, 4, 3, IMAGE, IMAGE)}]
    heard: list[dict[str, Any]] = [{}]
    if "input_features" in names:
        heard = [{"input_features": features} for features in _features(config, noise)]
    elif "input_values" in names:
        bins = _setting(config, "num_mel_bins") or 8
        length = _setting(config, "max_length") or 64
        heard = [{"input_values": noise(2, length, bins)}] if _setting(config, "num_mel_bins") else []
        heard += [
            {"input_values": noise(2, 2400)},
            {"input_values": noise(2, 1, 2400)},
            {"input_values": noise(2, 64, 16)},
        ]
    for more in ({**s, **h} for s in seen for h in heard):
        for part in ({**text, **decoder, **more}, {**more, **decoder}, more):
            if part:
                yield {**part, **fixed}
                yield part
    if text:
        yield {**text, **decoder, **fixed}
        yield {**text, **fixed}
        yield text
        yield {**text, "bbox": torch.randint(0, 30, (*TEXT, 4), generator=generator).sort(-1)[0]}
    if "inputs" in names:
        yield {"inputs": ids()}
    if "hidden_states" in names:
        yield {"hidden_states": noise(*TEXT, WIDTH)}
    if "query_embeds" in names:
        yield {"query_embeds": noise(2, 4, WIDTH), "encoder_hidden_states": noise(2, 5, WIDTH)}
    if "inputs_embeds" in names:
        yield {"inputs_embeds": noise(*TEXT, WIDTH)}
    if "past_values" in names:
        yield {"past_values": noise(2, getattr(config, "context_length", 32), getattr(config, "num_input_channels", 1))}


def _sub_configs(config: Any) -> list[Any]:
    from transformers import PretrainedConfig

    parts = [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
    return [config, *(sub for part in parts for sub in _sub_configs(part))]


def _setting(config: Any, *names: str) -> Any:
    for part in _sub_configs(config):
        for name in names:
            if getattr(part, name, None) is not None:
                return getattr(part, name)
    return None


def _images(config: Any, noise: Any) -> Iterator[Tensor]:
    size = _setting(config, "image_size", "img_size") or IMAGE
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    channels = _setting(config, "num_channels", "in_channels", "in_chans", "num_image_channels") or 3
    if not isinstance(channels, int):
        channels = 3
    yield noise(2, channels, height, width)
    if height < 64:
        yield noise(2, channels, 64, 64)
    yield noise(2, _setting(config, "num_frames") or 4, channels, height, width)
    yield noise(2, channels, 128, 128)
    yield noise(2, 1, channels, height, width)
    yield noise(2, 2, channels, height, width)
    yield noise(2, channels, 224, 224)


def _features(config: Any, noise: Any) -> Iterator[Tensor]:
    bins = _setting(config, "num_mel_bins", "input_feat_per_channel", "feature_size", "mel_bins", "input_dim") or 8
    length = 2 * (_setting(config, "max_source_positions") or 32)
    yield noise(2, bins, min(length, 3000))
    yield noise(2, 64, bins)
    yield noise(2, 1, 64, bins)

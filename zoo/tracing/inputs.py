"""Inputs that a tiny model runs on, by the names of what its `forward` takes."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.tracing.sizes import IMAGE, KEPT_TOKENS, PATCH, VOCABULARY, WIDTH

__all__ = ["MAKERS", "TEXT", "Inputs", "Needs", "all_parts", "make", "make_inputs"]

TEXT = (2, 8)
"""Sequences and tokens in each."""
GRID = (1, 4, 4)
"""Patches of an image in time, height and width."""
Inputs = dict[str, Any]


class Needs:
    """What one model takes, and numbers to make it from."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        self.config = config
        parameters = inspect.signature(model.forward).parameters
        self.names = set(parameters)
        self.notes = {name: str(p.annotation) for name, p in parameters.items()}
        self.required = [
            name for name, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        self.generator = torch.Generator().manual_seed(1)

    def ids(self, *shape: int) -> Tensor:
        known = self.setting("vocab_size", default=VOCABULARY)
        most = min(VOCABULARY, known) if isinstance(known, int) and known > KEPT_TOKENS + 1 else VOCABULARY
        return torch.randint(KEPT_TOKENS, most, shape or TEXT, generator=self.generator)

    def noise(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def setting(self, *names: str, default: Any = None) -> Any:
        """The first of these settings, of the configuration or its parts."""
        for part in all_parts(self.config):
            for name in names:
                if getattr(part, name, None) is not None:
                    return getattr(part, name)
        return default

    @property
    def width(self) -> int:
        found = self.setting("hidden_size", "d_model", "n_embd", "embed_dim", "dim", default=WIDTH)
        return found if isinstance(found, int) else WIDTH

    @property
    def channels(self) -> int:
        found = self.setting("num_channels", "in_channels", "in_chans", "num_image_channels", default=3)
        return found if isinstance(found, int) else 3


def make_inputs(model: nn.Module, config: Any) -> Iterator[Inputs]:
    """Inputs by what the model's `forward` takes, the most complete first."""
    needs, least = Needs(model, config), []
    for found in _candidates(needs):
        try:
            whole, required = _completed(needs, found), _completed(needs, found, companions={})
        except KeyError:  # Something is made like an input that this candidate leaves out.
            continue
        yield whole
        if whole.keys() != required.keys():
            least.append(required)
    # A companion of one model means something else to another, which runs without it.
    yield from least


def _candidates(needs: Needs) -> Iterator[Inputs]:
    names = needs.names
    fixed: Inputs = {"use_cache": False} if "use_cache" in names else {}
    text: Inputs = {"input_ids": needs.ids()} if "input_ids" in names else {}
    decoder: Inputs = {"decoder_input_ids": needs.ids()} if "decoder_input_ids" in names else {}
    mores = [{**seen, **heard} for seen in _seen(needs) for heard in _heard(needs)]
    given = [{**text, **decoder, **more} for more in mores]
    given += [{**more, **decoder} for more in mores] if text and any(mores) else []
    given += mores if decoder else []
    for part in given:
        if part:
            yield {**part, **fixed}
    if text:
        yield {**text, **decoder, **fixed}
        if decoder:
            yield {**text, **fixed}
        if fixed:
            yield text
        yield from _crossed(needs, {**text, **fixed})
        yield from _coded(needs, fixed)
        yield {**text, "bbox": MAKERS["bbox"](needs, text)}
        yield {**text, "attention_mask": torch.ones(TEXT, dtype=torch.long)}
    for name in LONE:
        if name in names:
            alone = {name: MAKERS[name](needs, {})}
            yield alone
            yield from _crossed(needs, alone)
    for name in ("hidden_states", "image", "inputs"):
        if name in names:
            yield {name: next(_images(needs))}
    if "past_values" in names:
        yield {"past_values": needs.noise(2, needs.setting("context_length", default=32))}
    if text:
        for name in sorted(LAST & names):
            yield {**text, **decoder, name: MAKERS[name](needs, text)}
    if needs.required:
        yield {}


def _crossed(needs: Needs, inputs: Inputs) -> Iterator[Inputs]:
    """With the states of an encoder, for a decoder that stands alone."""
    if "encoder_hidden_states" in needs.names:
        yield {**inputs, "encoder_hidden_states": MAKERS["encoder_hidden_states"](needs, inputs)}


def _coded(needs: Needs, fixed: Inputs) -> Iterator[Inputs]:
    """Tokens of several codebooks at each place, in the layouts there are, for a decoder of sound."""
    books = needs.setting("num_codebooks", "num_channels", "n_codes_total")
    if isinstance(books, int) and "pixel_values" not in needs.names:
        rows, length = TEXT
        for shape in ((rows * books, length), (rows, length, books), (rows, books, length)):
            coded = {"input_ids": needs.ids(*shape), **fixed}
            yield from _crossed(needs, coded)
            yield coded


def _seen(needs: Needs) -> Iterator[Inputs]:
    """Images, or the patches of some."""
    names = needs.names
    if grid := next((name for name in ("image_grid_thw", "grid_thw", "image_grid_hw") if name in names), None):
        yield from _gridded(needs, grid)
    if "spatial_shapes" in names and "pixel_attention_mask" in names:
        patch = needs.setting("patch_size", default=PATCH)
        pixels = needs.noise(2, 16, needs.channels * patch * patch)
        yield {"pixel_values": pixels, "pixel_attention_mask": torch.ones(2, 16, dtype=torch.long),
               "spatial_shapes": torch.tensor([[4, 4]] * 2)}  # fmt: skip
    for name in ("image_position_ids", "pixel_position_ids"):
        if name in names and "pixel_values" in names:
            patch = needs.setting("patch_size", default=PATCH)
            places = torch.cartesian_prod(torch.arange(6), torch.arange(6)).expand(2, 36, 2)
            yield {"pixel_values": needs.noise(2, 36, needs.channels * patch * patch), name: places}
    if "flattened_patches" in names:
        patch = needs.setting("patch_size", default=PATCH)
        places = torch.cartesian_prod(torch.arange(1, 4), torch.arange(1, 4)).expand(2, 9, 2)
        yield {"flattened_patches": torch.cat([places, needs.noise(2, 9, needs.channels * patch**2)], -1)}
    if "pixel_values" in names and "target_sizes" in names:
        patch = needs.setting("patch_size", default=PATCH)
        yield {
            "pixel_values": needs.noise(1, needs.channels, patch, patch * 32),
            "target_sizes": torch.tensor([[4, 4]] * 2),
        }
    if "pixel_values" in names:
        if "pixel_values_videos" in names:
            frames = needs.noise(2, 8, needs.channels, *_sides(needs, "image_size"))
            yield {"pixel_values": next(_images(needs)), "pixel_values_videos": frames}
        for pixels in _images(needs):
            yield {"pixel_values": pixels}
            if "image_sizes" in names:
                count = pixels.shape[0]
                yield {"pixel_values": pixels, "image_sizes": torch.tensor([pixels.shape[-2:]] * count)}
    elif "pixel_values_videos" in names:
        frames = needs.setting("num_frames", "frames_per_clip", default=4)
        yield {"pixel_values_videos": needs.noise(2, frames, 3, *_sides(needs, "image_size", "crop_size"))}
    yield {}


def _gridded(needs: Needs, grid: str) -> Iterator[Inputs]:
    """Patches of two images behind each other, in the layouts there are."""
    time, height, width = GRID
    patch = needs.setting("patch_size", default=PATCH)
    depth = needs.setting("temporal_patch_size", "patch_temporal", default=1)
    name = "pixel_values" if "pixel_values" in needs.names else "hidden_states"
    count = 2 * time * height * width
    flat = needs.noise(count, needs.channels * depth * patch * patch)
    sides = torch.tensor([GRID if grid != "image_grid_hw" else GRID[1:]] * 2)
    for pixels in (
        flat,
        flat.reshape(2, count // 2, -1),
        needs.noise(count, needs.channels, patch, patch),
        needs.noise(1, count, needs.channels, patch, patch),
    ):
        yield {name: pixels, grid: sides}


def _sides(needs: Needs, *names: str) -> tuple[int, int]:
    """Height and width of an image, which settings give as one number or as two."""
    size = needs.setting(*names, default=IMAGE)
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _images(needs: Needs) -> Iterator[Tensor]:
    height, width = _sides(needs, "image_size", "img_size")
    channels = needs.channels
    if "prompt_pixel_values" in needs.names:
        yield needs.noise(2, channels, height // 2, width)  # The other half is a picture with its answer.
    yield needs.noise(2, channels, height, width)
    if height < 64:
        yield needs.noise(2, channels, 64, 64)
    yield needs.noise(2, needs.setting("num_frames", default=4), channels, height, width)
    if isinstance(frames := needs.setting("num_frames"), int):
        yield needs.noise(2 * frames, channels, height, width)
    yield needs.noise(2, channels, 128, 128)
    yield needs.noise(2, 1, channels, height, width)
    yield needs.noise(2, 2, channels, height, width)
    yield needs.noise(2, channels, 224, 224)
    patch = needs.setting("patch_size", default=PATCH)
    if isinstance(patch, int):
        yield needs.noise(2, (height // patch) * (width // patch), channels * patch * patch)
    yield needs.noise(2, 1, needs.setting("max_num_tiles", default=4), channels, height, width)


def _heard(needs: Needs) -> Iterator[Inputs]:
    """Sound, or what is measured of it."""
    names = needs.names
    if "input_features" in names:
        bins = needs.setting(
            "num_mel_bins", "input_feat_per_channel", "feature_size", "mel_bins", "input_dim", "n_mels", default=8
        )
        yield from _lengths(needs, bins)
        length = 2 * needs.setting("max_source_positions", default=32)
        for shape in ((2, bins, min(length, 3000)), (2, 64, bins), (2, 1, 64, bins), (2, 64, WIDTH)):
            features: Inputs = {"input_features": needs.noise(*shape)}
            yield features
            for mask in ("input_features_mask", "feature_attention_mask"):
                if mask in names:
                    yield {**features, mask: torch.ones(2, max(shape[1:]), dtype=torch.long)}
            if {"input_features", "input_values"} <= set(needs.required):
                yield {**features, "input_values": needs.noise(2, 1, 2400)}
    if "input_values" in names:
        bins = needs.setting("num_mel_bins")
        if bins:
            yield {"input_values": needs.noise(2, needs.setting("max_length", default=64), bins)}
        for sound in ((2, 2400), (2, 1, 2400), (2, 64, 16), (1, 1, 9600)):
            yield {"input_values": needs.noise(*sound)}
    yield {}


def _lengths(needs: Needs, bins: int) -> Iterator[Inputs]:
    """Sounds behind each other with the length of each, and sounds of whole windows."""
    window = 2 * needs.setting("n_window", default=32)
    if "feature_lens" in needs.names:
        lengths = torch.tensor([window, window])
        sounds = {"input_features": needs.noise(bins, 2 * window), "feature_lens": lengths}
        if "aftercnn_lens" in needs.names:
            sounds["aftercnn_lens"] = (lengths - 1) // 2 + 1
        yield sounds
    if "input_features_mask" in needs.names:
        for shape in ((2, bins, 2 * window), (2, 2 * window, bins)):
            mask = torch.ones(2, 2 * window, dtype=torch.long)
            yield {"input_features": needs.noise(*shape), "input_features_mask": mask}


def all_parts(config: Any) -> list[Any]:
    from transformers import PretrainedConfig

    parts = [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
    return [config, *(sub for part in parts for sub in all_parts(part))]


def _completed(needs: Needs, inputs: Inputs, companions: Mapping[str, tuple[str, ...]] | None = None) -> Inputs:
    """With all that `forward` requires, as far as it is known how to make it, and what some models want beside it."""
    wanted = [name for name in needs.required if name not in inputs and name not in MADE]
    for companion, reasons in (COMPANIONS if companions is None else companions).items():
        if companion in needs.names and companion not in inputs and any(reason in inputs for reason in reasons):
            wanted.append(companion)
    for name in wanted:
        inputs = {**inputs, name: make(name, needs, inputs)}
    return inputs


def make(name: str, needs: Needs, inputs: Inputs) -> Any:
    """An input by its name, or else by what its name ends with and its annotation."""
    if name in MAKERS:
        return MAKERS[name](needs, inputs)
    note = needs.notes.get(name, "")
    if "int" in note and "Tensor" not in note:
        return TEXT[1]
    if name.endswith(("_ids", "_idx", "_index", "_code", "_codes", "_type", "marks")):
        return needs.ids() % 4 if not name.endswith("input_ids") else needs.ids()
    if name.endswith(("mask", "_padding")):
        return _ones(*inputs)(needs, inputs)
    states = needs.noise(*TEXT, needs.width)
    return [states] if note.startswith("list[") else states


def _past(needs: Needs) -> tuple[int, ...]:
    """Shape of the past of a time series, with the steps that are looked back to."""
    lags = needs.setting("lags_sequence")
    length = needs.setting("context_length", "prediction_length", default=32)
    if lags:
        return 2, length + max(lags)
    return 2, length, needs.setting("num_input_channels", default=1)


Maker = Callable[[Needs, Inputs], Any]


def _ones(*names: str) -> Maker:
    """A mask over the first two axes of one of these inputs."""

    def make(needs: Needs, inputs: Inputs) -> Tensor:
        shape = next((tuple(inputs[name].shape[:2]) for name in names if name in inputs), TEXT)
        return torch.ones(shape, dtype=torch.long)

    return make


def _first(count: int) -> Tensor:
    """A mask of the first places of each text."""
    return (torch.arange(TEXT[1]) < count).expand(TEXT).long()


def _states(*lead: int, setting: tuple[str, ...] = ()) -> Maker:
    """Activations of the model's width."""
    return lambda needs, _: needs.noise(*lead, needs.setting(*setting, default=needs.width) if setting else needs.width)


MADE = ("pixel_values", "input_features", "input_values", "hidden_states", "pixel_values_videos")
"""Inputs of which `_candidates` knows more than one form, so that one is not made where it leaves them out."""
MAKERS: Mapping[str, Maker] = {
    "input_ids": lambda needs, _: needs.ids(),
    "decoder_input_ids": lambda needs, _: needs.ids(),
    "qformer_input_ids": lambda needs, _: needs.ids(),
    "context_input_ids": lambda needs, _: needs.ids(),
    "task_inputs": lambda needs, _: needs.ids(2, needs.setting("task_seq_len", default=16)),
    "bbox": lambda needs, _: torch.randint(0, 30, (*TEXT, 4), generator=needs.generator).sort(-1)[0],
    "attention_mask": _ones("input_ids", "inputs_embeds", "hidden_states", "context"),
    "mm_token_type_ids": lambda needs, _: torch.zeros(TEXT, dtype=torch.long),
    "input_features_mask": _ones("input_features"),
    "hidden_states": _states(*TEXT),
    "inputs_embeds": _states(*TEXT),
    "encoder_hidden_states": _states(2, 5, setting=("encoder_hidden_size", "cross_attention_hidden_size")),
    "query_embeds": _states(2, 4),
    "query_tokens": _states(2, 4),
    "context": _states(2, 6),
    "visual_feats": _states(2, 4, setting=("visual_feat_dim", "visual_embedding_dim")),
    "visual_embeds": _states(2, 4, setting=("visual_embedding_dim",)),
    "visual_pos": lambda needs, _: needs.noise(2, 4, 4),
    "inputs": lambda needs, _: needs.ids(),
    "image_merge_sizes": lambda needs, _: torch.tensor([2, 2]),
    "merge_sizes": lambda needs, _: torch.tensor([2, 2]),
    "aspect_ratio_ids": lambda needs, _: torch.ones(2, 1, dtype=torch.long),
    "aspect_ratio_mask": lambda needs, _: torch.ones(2, 1, needs.setting("max_num_tiles", default=4), dtype=torch.long),
    "high_res_pixel_values": lambda needs, inputs: needs.noise(*inputs["pixel_values"].shape),
    "prompt_pixel_values": lambda needs, inputs: needs.noise(*inputs["pixel_values"].shape),
    "prompt_masks": lambda needs, inputs: needs.noise(*inputs["pixel_values"].shape),
    "past_values": lambda needs, _: needs.noise(*_past(needs)),
    "past_time_features": lambda needs, _: needs.noise(
        *_past(needs)[:2], needs.setting("num_time_features", default=0) + 0
    ),
    "past_observed_mask": lambda needs, _: torch.ones(_past(needs), dtype=torch.float64),
    "future_time_features": lambda needs, _: needs.noise(
        2, needs.setting("prediction_length", default=4), needs.setting("num_time_features", default=0) + 0
    ),
    "future_values": lambda needs, _: needs.noise(2, needs.setting("prediction_length", default=4)),
    "spectrogram": lambda needs, _: needs.noise(2, 12, needs.setting("model_in_dim", "num_mel_bins", default=8)),
    "latents": _states(2, 16),
    "states": lambda needs, _: needs.noise(*TEXT, needs.setting("state_dim", default=needs.width)),
    "actions": lambda needs, _: needs.noise(*TEXT, needs.setting("act_dim", default=needs.width)),
    "rewards": lambda needs, _: needs.noise(*TEXT, 1),
    "returns_to_go": lambda needs, _: needs.noise(*TEXT, 1),
    "timesteps": lambda needs, _: torch.arange(TEXT[1]).expand(TEXT),
    "time_step": lambda needs, _: needs.noise(2),
    "freq": lambda needs, _: torch.zeros(2, 1, dtype=torch.long),
    "past_values_padding": lambda needs, inputs: torch.zeros(inputs["past_values"].shape, dtype=torch.float64),
    "audio_mel": lambda needs, _: needs.noise(2, 64, needs.setting("input_feat_size", default=8)),
    "audio_mel_mask": lambda needs, _: torch.zeros(2, 64, dtype=torch.bool),
    "context_attention_mask": _ones("context_input_ids"),
    "doc_scores": lambda needs, _: needs.noise(1, 2),
    "lang_ids": lambda needs, _: torch.zeros(2, dtype=torch.long),
    "entity_ids": lambda needs, _: needs.ids(2, 3),
    "entity_position_ids": lambda needs, _: torch.arange(2).expand(2, 3, 2),
    "global_attention_mask": lambda needs, _: _first(1),
    "token_type_ids": lambda needs, _: torch.arange(TEXT[1]).expand(TEXT) % 2,
    "prompt_depth": lambda needs, inputs: needs.noise(2, 1, *inputs["pixel_values"].shape[-2:]),
    "image_embeds_position_mask": lambda needs, _: _first(needs.setting("latent_query_num", default=4)),
    "image_attention_mask": lambda needs, _: torch.ones(*TEXT, 1, dtype=torch.long),
}
"""Input -> how it is made, for those that do not stand in `_candidates`."""
COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "mm_token_type_ids": ("image_grid_thw",),
    "image_merge_sizes": ("image_grid_thw",),
    "image_embeds_position_mask": ("pixel_values",),
    "image_attention_mask": ("pixel_values",),
    "actions": ("states",),
    "rewards": ("states",),
    "returns_to_go": ("states",),
    "timesteps": ("states",),
    "qformer_input_ids": ("pixel_values",),
    "future_values": ("past_time_features", "past_observed_mask", "past_values"),
    "future_time_features": ("past_time_features", "past_values"),
    "entity_position_ids": ("entity_ids",),
    "prompt_depth": ("pixel_values",),
    "visual_feats": ("input_ids",),
    "visual_pos": ("visual_feats", "input_ids"),
}
"""Input that some models want beside another, though it is not required."""
LONE = ("inputs", "hidden_states", "query_embeds", "inputs_embeds", "past_values", "spectrogram", "latents", "states")
"""Inputs that do for themselves."""
LAST = frozenset({"lang_ids", "context_input_ids", "entity_ids", "global_attention_mask", "token_type_ids"})
"""Inputs that are tried beside a text where nothing else has done."""

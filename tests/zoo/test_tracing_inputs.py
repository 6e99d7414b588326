"""Tests for the inputs and sizes with which tiny models of `transformers` run, and read all of themselves."""

import pytest
import torch
from torch import nn

from zoo.tracing.build import MOST_UNREAD, build_tiny, randomise
from zoo.tracing.derive import output_tensors
from zoo.tracing.sizes import LAYERS, shrink


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "inputs"),
    [
        ("canary_decoder", {"input_ids", "encoder_hidden_states"}),  # States of an encoder beside the text.
        ("musicgen_decoder", {"input_ids"}),  # Tokens of several codebooks.
        ("decision_transformer", {"states", "actions", "timesteps"}),  # No text, image or sound.
        ("xmod", {"input_ids", "lang_ids"}),  # What a text needs beside it.
        ("timesfm2_5", {"past_values"}),  # A series without channels.
        ("blip_2_qformer", {"query_embeds", "encoder_hidden_states"}),
        ("luke", {"entity_ids", "entity_position_ids"}),
        ("longformer", {"global_attention_mask"}),
        ("flava", {"input_ids", "pixel_values"}),  # Idefics' mask of images beside texts means another thing to it.
        ("seggpt", {"pixel_values", "prompt_pixel_values"}),  # Two pictures are one of twice the height.
        ("sam", {"pixel_values"}),  # Sizes of its parts follow from each other.
        ("video_llava", {"pixel_values", "pixel_values_videos"}),  # Its error counts numbers, and not places.
    ],
)
def test_a_model_is_given_what_its_signature_and_its_errors_name(model_type: str, inputs: set[str]) -> None:
    tiny = build_tiny(model_type)
    assert inputs <= tiny.inputs.keys()
    assert tiny.unread <= MOST_UNREAD


@pytest.mark.parametrize("model_type", ["gemma3", "qwen3_vl_vision", "layoutlmv3", "llama4_vision_model", "radio"])
def test_small_sizes_fit_each_other(model_type: str) -> None:
    assert build_tiny(model_type).unread <= MOST_UNREAD


def test_a_model_of_which_one_way_of_making_it_small_reads_a_part_is_made_small_in_another() -> None:
    # The heads of the tower for images are wider than the tower, and only its text would run.
    tiny = build_tiny("mistral3")
    assert "pixel_values" in tiny.inputs
    assert tiny.unread <= MOST_UNREAD


@pytest.mark.parametrize("model_type", ["nemotron_asr_streaming_encoder", "timesfm"])
def test_a_tiny_model_gives_out_numbers(model_type: str) -> None:
    with torch.no_grad():
        found = output_tensors(build_tiny(model_type).run())
    assert found and all(tensor.isfinite().all() for tensor in found)


def test_memory_that_a_class_has_not_written_is_written() -> None:
    layer = nn.Linear(3, 2).double()
    with torch.no_grad():
        layer.weight.fill_(float("nan"))
        layer.bias.fill_(1e300)
    randomise(layer, torch.Generator().manual_seed(0))
    assert all(tensor.abs().max() < 10 for tensor in layer.parameters())


def test_layers_that_are_given_out_are_among_those_of_the_small_model() -> None:
    from transformers import Qwen3VLConfig

    vision = shrink(Qwen3VLConfig()).vision_config
    assert vision.deepstack_visual_indexes == [LAYERS - 1]  # And the other is one that is not given out.


def test_channels_of_a_part_have_the_same_size_where_they_are_read() -> None:
    from transformers import RTDetrConfig

    config = shrink(RTDetrConfig())
    assert config.encoder_in_channels == config.backbone_config.hidden_sizes[1:]


def test_a_backbone_keeps_the_stages_that_it_gives_out() -> None:
    from transformers import MaskFormerConfig

    backbone = shrink(MaskFormerConfig()).backbone_config
    assert len(backbone.depths) == len(backbone.out_features) == len(backbone.stage_names) - 1

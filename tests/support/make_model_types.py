"""Writes `zoo/model_types.json`: what the model types of the installed `transformers` are, by its auto classes.

python -m tests.support.make_model_types
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["PAGE", "model_types"]

PAGE = Path(__file__).parents[2] / "zoo" / "model_types.json"
# The first that holds a type says its modality: what reads pictures and text is in the lists of both.
MODALITIES: Mapping[str, tuple[str, ...]] = {
    "multimodal": (
        "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "VISUAL_QUESTION_ANSWERING", "DOCUMENT_QUESTION_ANSWERING",
        "ZERO_SHOT_IMAGE_CLASSIFICATION", "ZERO_SHOT_OBJECT_DETECTION", "RETRIEVAL",
    ),
    "audio": (
        "CTC", "RNNT", "TDT", "SPEECH_SEQ_2_SEQ", "AUDIO_CLASSIFICATION", "AUDIO_FRAME_CLASSIFICATION",
        "AUDIO_XVECTOR", "TEXT_TO_SPECTROGRAM", "TEXT_TO_WAVEFORM",
    ),
    "vision": (
        "IMAGE", "IMAGE_CLASSIFICATION", "BACKBONE", "CAUSAL_IMAGE_MODELING", "DEPTH_ESTIMATION", "IMAGE_MATTING",
        "IMAGE_SEGMENTATION", "IMAGE_TO_IMAGE", "INSTANCE_SEGMENTATION", "KEYPOINT_DETECTION", "KEYPOINT_MATCHING",
        "MASKED_IMAGE_MODELING", "MASK_GENERATION", "NORMAL_ESTIMATION", "OBJECT_DETECTION", "POINTMAP_ESTIMATION",
        "POSE_ESTIMATION", "SEMANTIC_SEGMENTATION", "TABLE_RECOGNITION", "TEXT_RECOGNITION", "UNIVERSAL_SEGMENTATION",
        "VIDEO_CLASSIFICATION",
    ),
    "text": (
        "CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "TEXT_ENCODING", "SEQUENCE_CLASSIFICATION",
        "TOKEN_CLASSIFICATION", "QUESTION_ANSWERING", "MULTIPLE_CHOICE", "NEXT_SENTENCE_PREDICTION",
        "TABLE_QUESTION_ANSWERING",
    ),
}  # fmt: skip
"""Modality -> tasks whose models are of it."""

KNOWN: Mapping[str, str | None] = {
    "audioflamingo3": "multimodal", "musicflamingo": "multimodal", "lxmert": "multimodal", "modernvbert": "multimodal",
    "moshi": "audio", "perceiver": None, "esm": None, "esmc": None,
}  # fmt: skip
"""Types that the lists place wrongly: audio that is in a list of text, anything that can be read, proteins."""
CONVOLUTIONAL = (
    "bit", "convnext", "convnextv2", "dinov3_convnext", "efficientnet", "hgnet_v2", "mobilenet_v1", "mobilenet_v2",
    "pp_lcnet", "pp_lcnet_v3", "pp_lcnet_v4", "regnet", "resnet", "rt_detr_resnet", "textnet",
)  # fmt: skip
HYBRID = ("cvt", "levit", "mobilevit", "mobilevitv2", "swiftformer")
TRANSFORMERS = (
    "beit", "data2vec-vision", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "donut-swin", "hiera", "ijepa",
    "maskformer-swin", "pvt", "pvt_v2", "segformer", "swin", "swin2sr", "swinv2", "timesformer", "videomae", "vit",
    "vit_mae", "vit_msn", "vitdet", "vivit", "yolos", "siglip_vision_model", "aimv2_vision_model", "vjepa2",
)  # fmt: skip
"""Of the types that see: no list tells what they are built of."""
EITHER = {"bert-generation", "reformer", "xlm", "xlnet"}
"""Types that are encoders or decoders, as they are configured."""


def model_types() -> dict[str, list[str]]:
    """Modality, and architecture where the lists tell it -> model types, sorted."""
    from transformers.models.auto import modeling_auto

    def types(tasks: Iterable[str]) -> set[str]:
        return {each for task in tasks for each in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")}

    found: dict[str, list[str]] = {}
    told: set[str] = set()
    for modality, tasks in MODALITIES.items():
        own = {each for each, known in KNOWN.items() if known == modality}
        found[modality] = sorted((types(tasks) - told - KNOWN.keys()) | own)
        told |= {*found[modality]}
    text, audio, vision = ({*found[modality]} for modality in ("text", "audio", "vision"))
    seq2seq, masked, causal = types(["SEQ_TO_SEQ_CAUSAL_LM"]), types(["MASKED_LM"]), types(["CAUSAL_LM"])
    speech = audio & types(["SPEECH_SEQ_2_SEQ"])
    listened = audio & types(["CTC", "AUDIO_CLASSIFICATION"])
    found["encoder-decoder"] = sorted(text & seq2seq | speech)
    found["encoder"] = sorted((text & masked) - seq2seq - EITHER | listened - speech | vision & {*TRANSFORMERS})
    found["decoder"] = sorted((text & causal) - masked - seq2seq - EITHER)
    found["cnn"] = sorted(vision & {*CONVOLUTIONAL})
    found["hybrid"] = sorted(vision & {*HYBRID})
    return found


if __name__ == "__main__":
    lines = (f'"{kind}": {json.dumps(types)}' for kind, types in model_types().items())
    PAGE.write_text("{\n" + ",\n".join(lines) + "\n}\n")

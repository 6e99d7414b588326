"""How tensors of some model types are called: what no other of these types has, where the type is as declared."""

import re
from collections.abc import Iterable, Mapping

__all__ = ["MARKERS", "types_of"]

MARKERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "albert_layer_groups": ("albert", ("albert",)),
    r"attention\.self\.query\.": (
        "bert",
        (
            "bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "electra", "camembert", "mobilebert", "big_bird",
            "layoutlm", "layoutlmv2", "layoutlmv3", "nezha", "megatron-bert", "ernie", "rembert", "roc_bert", "bert-generation",
            "data2vec-text", "esm", "roberta-prelayernorm", "roformer", "convbert", "ibert", "luke", "canine", "splinter",
            "tapas", "visual_bert", "markuplm", "lxmert", "blip", "blip-2", "bros", "align", "bridgetower", "chinese_clip",
            "altclip", "clap", "xmod", "mpnet", "nystromformer", "yoso", "mra", "longformer", "dpr", "qdqbert",
        ),
    ),
    r"attention\.q_lin\.": ("distilbert", ("distilbert", "flaubert", "xlm")),
    r"attn\.c_attn\.": (
        "gpt2",
        ("gpt2", "openai-gpt", "imagegpt", "gpt_bigcode", "decision_transformer", "qwen", "clvp"),
    ),
    r"SelfAttention\.q\.": ("t5", ("t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano", "udop")),
    r"(?:self_attn|attention)\.q_proj\.": (
        "llama",
        (
            "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "gemma", "gemma2", "phi", "opt", "bart", "mbart",
            "pegasus", "marian", "whisper", "clip", "siglip", "wav2vec2", "hubert", "wavlm", "stablelm", "olmo", "granite",
            "starcoder2", "cohere", "vit", "deit", "beit", "dinov2", "vit_mae", "vit_msn", "audio-spectrogram-transformer",
            "blip-2", "clvp",
        ),
    ),
    r"attention\.query_key_value\.": ("gpt_neox", ("gpt_neox", "bloom", "falcon", "gpt_neox_japanese")),
    r"attention\.attention\.query\.": ("vit", ("vit", "deit", "beit", "dinov2", "vit_mae", "vit_msn", "audio-spectrogram-transformer")),
}  # fmt: skip
"""Pattern in the names of tensors -> what it is a sign of, and the model types that have it."""


def types_of(names: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The markers that are found among the names."""
    names = list(names)
    return {pattern: meaning for pattern, meaning in MARKERS.items() if any(re.search(pattern, name) for name in names)}

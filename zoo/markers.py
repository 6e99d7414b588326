"""How tensors of some model types are called: what no other of these types has, where the type is as declared."""

import re
from collections.abc import Iterable, Mapping

__all__ = ["MARKERS", "types_of"]

LIKE_BERT = (
    "align", "altclip", "bert", "bert-generation", "big_bird", "blip", "blip-2", "bridgetower", "bros",
    "camembert", "canine", "chinese_clip", "clap", "convbert", "data2vec-text", "dpr", "electra", "ernie", "esm",
    "ibert", "layoutlm", "layoutlmv2", "layoutlmv3", "longformer", "luke", "lxmert", "markuplm", "megatron-bert",
    "mobilebert", "mpnet", "mra", "nezha", "nystromformer", "qdqbert", "rembert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "splinter", "tapas", "visual_bert", "xlm-roberta",
    "xlm-roberta-xl", "xmod", "yoso",
)  # fmt: skip
LIKE_VIT = ("audio-spectrogram-transformer", "beit", "deit", "dinov2", "vit", "vit_mae", "vit_msn")
LIKE_LLAMA = (
    "bart", "blip-2", "clip", "clvp", "cohere", "gemma", "gemma2", "granite", "hubert", "llama", "marian",
    "mbart", "mistral", "mixtral", "olmo", "opt", "pegasus", "phi", "qwen2", "qwen2_moe", "qwen3", "siglip",
    "stablelm", "starcoder2", "wav2vec2", "wavlm", "whisper", *LIKE_VIT,
)  # fmt: skip
"""Newer versions of the library call the parts of vision transformers so too."""
LIKE_GPT2 = ("clvp", "decision_transformer", "gpt2", "gpt_bigcode", "imagegpt", "openai-gpt", "qwen")
LIKE_T5 = ("longt5", "mt5", "pop2piano", "switch_transformers", "t5", "udop", "umt5")
MARKERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "albert_layer_groups": ("albert", ("albert",)),
    r"attention\.self\.query\.": ("bert", LIKE_BERT),
    r"attention\.q_lin\.": ("distilbert", ("distilbert", "flaubert", "xlm")),
    r"attn\.c_attn\.": ("gpt2", LIKE_GPT2),
    r"SelfAttention\.q\.": ("t5", LIKE_T5),
    r"(?:self_attn|attention)\.q_proj\.": ("llama", LIKE_LLAMA),
    r"attention\.query_key_value\.": ("gpt_neox", ("bloom", "falcon", "gpt_neox", "gpt_neox_japanese")),
    r"attention\.attention\.query\.": ("vit", LIKE_VIT),
}
"""Pattern in the names of tensors -> what it is a sign of, and the model types that have it."""


def types_of(names: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The markers that are found among the names."""
    names = list(names)
    return {pattern: meaning for pattern, meaning in MARKERS.items() if any(re.search(pattern, name) for name in names)}

"""The tokenizer of the text specimens, as files of Hugging Face's: a character is a token."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from corpora import ALPHABET, MASK, UNKNOWN
from models import CONTEXT

__all__ = ["write_tokenizer"]

UNKNOWN_TOKEN, MASK_TOKEN = "[UNK]", "[MASK]"


def write_tokenizer(folder: Path, *, with_mask: bool) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, which give the ids that `corpora.encode` gives.

    - `with_mask`: whether the model knows the token that stands for a masked character.
    """
    vocabulary = {character: index for index, character in enumerate(ALPHABET)} | {UNKNOWN_TOKEN: UNKNOWN}
    if with_mask:
        vocabulary[MASK_TOKEN] = MASK
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN_TOKEN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN_TOKEN,
        mask_token=MASK_TOKEN if with_mask else None,
        model_max_length=CONTEXT,
    ).save_pretrained(folder)

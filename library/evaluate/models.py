"""Models of transformers made of a configuration and of tensors; no code of a repository is run, nothing is fetched."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError, UnbuildableModelError
from zoo.config import text_in

__all__ = ["Builder", "Kind", "kind_of", "require_transformers"]

Kind = Literal["encoder", "masked-lm", "decoder", "classifier", "seq2seq"]
"""What a model gives, and so what is compared: vectors, predictions of masked tokens, of next tokens, labels, or next
tokens of a decoder that hears or reads another sequence."""
FORBIDDEN = ("auto_map", "trust_remote_code")
SEED = 0
"""Of weights that the files do not hold: they are the same in every model that is built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Makes models of one class from tensors under the names of its files."""

    key: str
    model_class: Any
    config: Any

    @classmethod
    def of(cls, key: str, config: Mapping[str, Any]) -> "Builder":
        """The class that a `config.json` names. Raises `UnbuildableModelError` where the installed transformers has
        none, and `SettingsError` where transformers is not installed."""
        transformers = require_transformers()
        plain = {name: value for name, value in config.items() if name not in FORBIDDEN}
        model_type = text_in(plain, "model_type")
        try:
            settings = {name: value for name, value in plain.items() if name != "model_type"}
            made = transformers.AutoConfig.for_model(model_type, **settings)
        except Exception as error:
            known = f"{model_type!r} is not known to it" if model_type else "its config.json names no model type"
            raise UnbuildableModelError(
                f"transformers cannot build {key!r}: {known if isinstance(error, ValueError) else error}.",
                hint="Evaluate a model whose class is in transformers; DNA and weights can be looked at without it.",
            ) from error
        return cls(key=key, model_class=_class_of(key, transformers, plain, made), config=made)

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The model with these tensors, float32 on the CPU, in evaluation mode.

        Raises `UnbuildableModelError` if the class does not know them.
        """
        tensors = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        with _quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            try:
                model, info = self.model_class.from_pretrained(
                    None, config=self.config, state_dict=tensors, output_loading_info=True, dtype=torch.float32
                )
            except Exception as error:
                raise self._refusal(
                    f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                ) from error
        lost = {name for name in info["missing_keys"] if not name.endswith(("position_ids", "token_type_ids"))}
        if len(lost) >= len(list(model.parameters())) / 2:
            raise self._refusal("its class does not know the names of the tensors")
        found: nn.Module = model.eval()
        return found

    def _refusal(self, reason: str) -> UnbuildableModelError:
        return UnbuildableModelError(
            f"transformers cannot build {self.key!r} as {self.model_class.__name__} ({reason.rstrip('.: ')}).",
            hint="Check that config.json and weights are of one model, and that transformers is as new as they are.",
        )


def _class_of(key: str, transformers: Any, config: Mapping[str, Any], made: Any) -> Any:
    """The first class that the configuration names, or the plain model of its type."""
    names = config.get("architectures")
    for name in names if isinstance(names, list) else []:
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if type(made) in MODEL_MAPPING:
        found = MODEL_MAPPING[type(made)]
        return found[0] if isinstance(found, tuple) else found
    raise UnbuildableModelError(
        f"transformers cannot build {key!r}: it has no class {', '.join(map(repr, names or ['']))}.",
        hint="Evaluate a model whose class is in transformers; code of a repository is never run.",
    )


def kind_of(model: Any) -> Kind:
    """What the model gives."""
    name = type(model).__name__
    if name.endswith("ForMaskedLM"):
        return "masked-lm"
    if getattr(model.config, "is_encoder_decoder", False) and "For" in name and "Classification" not in name:
        return "seq2seq"
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "decoder"
    if "Classification" in name or name.endswith("ForCTC"):
        return "classifier"
    return "encoder"


def require_transformers() -> Any:
    """The library; raises `SettingsError` where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise SettingsError(
            "Models are run through transformers, which is not installed.",
            hint="Install it with `pip install 'dna-zoo[evaluate]'`.",
        ) from error
    return transformers


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own messages and bars: what they say is in the report."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()

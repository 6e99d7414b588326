"""Models of transformers: made of a configuration and of tensors, of a configuration alone, or of a folder.

No code of a repository is run, and nothing is fetched.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError, UnbuildableModelError
from zoo.config import text_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "Builder",
    "Kind",
    "Loaded",
    "kind_of",
    "known_names",
    "one_line",
    "open_model",
    "quiet",
    "read_config",
    "require_transformers",
]

Kind = Literal["encoder", "masked-lm", "decoder", "classifier", "seq2seq"]
"""What a model gives, and so what is compared: vectors, predictions of masked tokens, of next tokens, labels, or next
tokens of a decoder that hears or reads another sequence."""
FORBIDDEN = ("auto_map", "trust_remote_code")
NO_JSON = ("Infinity", "-Infinity", "NaN")
LONGEST = 160
"""Characters of what an exception of others says."""
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
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        plain = {name: _with_floats(value) for name, value in config.items() if name not in FORBIDDEN}
        model_type = text_in(plain, "model_type")
        try:
            settings = {name: value for name, value in plain.items() if name != "model_type"}
            with quiet():
                made = transformers.AutoConfig.for_model(model_type, **settings)
        except Exception as error:
            reason = (
                one_line(error).rstrip(".") if model_type in CONFIG_MAPPING else f"{model_type!r} is not known to it"
            )
            reason = reason if model_type else "its config.json names no model type"
            raise UnbuildableModelError(
                f"transformers cannot build {key!r}: {reason}.",
                hint="Give a model whose class is in transformers; DNA and weights can be looked at without it.",
            ) from error
        return cls(key=key, model_class=_class_of(key, transformers, plain, made), config=made)

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The model with these tensors, float32 on the CPU, in evaluation mode.

        Raises `UnbuildableModelError` if the class does not know them.
        """
        tensors = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            try:
                model, info = self.model_class.from_pretrained(
                    None, config=self.config, state_dict=tensors, output_loading_info=True, dtype=torch.float32
                )
            except Exception as error:
                raise self._refusal(one_line(error)) from error
        lost = {name for name in info["missing_keys"] if not name.endswith(("position_ids", "token_type_ids"))}
        if len(lost) >= len(list(model.parameters())) / 2:
            raise self._refusal("its class does not know the names of the tensors")
        found: nn.Module = model.eval()
        return found

    def fresh(self) -> "PreTrainedModel":
        """The model with its default start, in evaluation mode; what is random comes from torch's own generator."""
        try:
            model = self.model_class(self.config)
        except Exception as error:
            raise self._refusal(one_line(error)) from error
        found: PreTrainedModel = model.eval()
        return found

    def opened(self, folder: Path) -> "PreTrainedModel":
        """The model in a folder, float32, in evaluation mode, in plain operations, so that each can be followed.

        Raises `UnbuildableModelError` for files that cannot be read, or that lack tensors of the class.
        """
        with quiet():
            try:
                model, report = self.model_class.from_pretrained(
                    folder,
                    config=self.config,
                    local_files_only=True,
                    attn_implementation="eager",
                    output_loading_info=True,
                    dtype=torch.float32,
                )
            except Exception as error:
                raise self._refusal(one_line(error)) from error
        if missing := [*report["missing_keys"], *report["mismatched_keys"]]:
            raise UnbuildableModelError(
                f"The weights of {self.key!r} lack {len(missing)} tensors of its class, {missing[0]!r} among them.",
                hint="Give a folder whose config.json names the class that was saved.",
            )
        found: PreTrainedModel = model.eval()
        return found

    def _refusal(self, reason: str) -> UnbuildableModelError:
        return UnbuildableModelError(
            f"transformers cannot build {self.key!r} as {self.model_class.__name__} ({reason.rstrip('.: ')}).",
            hint="Check that config.json and weights are of one model, and that transformers is as new as they are.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory, float32, in evaluation mode, and the folder it comes from."""

    name: str
    folder: Path
    model: "PreTrainedModel"

    @property
    def config(self) -> Any:
        """Its configuration."""
        return self.model.config


def open_model(folder: Path, *, name: str | None = None) -> Loaded:
    """The model in a folder, of the class that its configuration names.

    Raises `UnbuildableModelError` for a model that transformers cannot build whole.
    """
    name = name or folder.name
    return Loaded(name=name, folder=folder, model=Builder.of(name, read_config(folder, name)).opened(folder))


def known_names(key: str, config: Mapping[str, Any]) -> frozenset[str]:
    """What the class that a configuration names calls its tensors; empty where there is none, or no transformers."""
    try:
        builder = Builder.of(key, config)
        with torch.device("meta"):
            return frozenset(builder.model_class(builder.config).state_dict())
    # Whatever code of transformers does with the configuration of a stranger.
    except Exception:
        return frozenset()


def read_config(source: Path, name: str) -> dict[str, Any]:
    """A `config.json`, or that of a folder. Raises `UnbuildableModelError` where there is none that can be read."""
    path = source / "config.json" if source.is_dir() else source
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        found = error
    if not isinstance(found, dict):
        reason = "is no JSON object" if not isinstance(found, OSError) else f"cannot be read ({found.strerror})"
        raise UnbuildableModelError(
            f"transformers cannot build {name!r}: {str(path)!r} {reason}.",
            hint="Give a `config.json`, or a folder with one, of an architecture that transformers knows.",
        )
    return found


def one_line(error: Exception) -> str:
    """What an exception of others says, in one line, cut where it is long."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said if len(said) <= LONGEST else f'{said[:LONGEST]}...'}"


def _with_floats(value: Any) -> Any:
    """A setting with infinities and NaN as numbers: JSON has none, and transformers writes `{"__float__": "NaN"}`."""
    if isinstance(value, Mapping):
        if set(value) == {"__float__"} and value["__float__"] in NO_JSON:
            return float(value["__float__"])
        return {name: _with_floats(each) for name, each in value.items()}
    return [_with_floats(each) for each in value] if isinstance(value, list) else value


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
        hint="Give a model whose class is in transformers; code of a repository is never run.",
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
def quiet() -> Iterator[None]:
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

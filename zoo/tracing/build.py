"""Builds a tiny model of any architecture of the installed `transformers`, and inputs that it runs on.

Sizes in the configuration are made small by the names that `transformers` gives them. No code or weight is fetched.
"""

import importlib
import inspect
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.tracing.derive import output_tensors
from zoo.tracing.inputs import make_inputs
from zoo.tracing.repairs import repaired
from zoo.tracing.sizes import VOCABULARY, Shrink, shrink

__all__ = ["VOCABULARY", "TinyModel", "build_tiny", "model_types", "randomise", "shrink", "tiny_of"]

MOST_PARAMETERS = 16_000_000
MOST_UNREAD = 0.1
"""Share of its parameters that a run may leave aside and is still one of the whole model."""
REPAIRS = 4
"""How often a model is given what it says is missing."""
ATTENTIONS = ("eager", "sdpa")
"""Ways to compute attention, in plain operations: the second where the first gives out no numbers."""
NO_NUMBERS = "it gives out no finite number"
UNWRITTEN = 1e6
"""Of this size no class makes its first weights: it is what stood in the memory before."""
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
    unread: float = 0.0
    """Share of the parameters that the run does not read."""

    def run(self) -> Any:
        """Call the model, all in float64 and in plain operations; random numbers in it are the same each time."""
        torch.manual_seed(0)
        with ExitStack() as stack:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float64)
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
    """A tiny model of this type: of the classes that stand for it, the first that is run nearly as a whole.

    Raises `RuntimeError`, with the first error, where no class of the type is built or runs.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    errors: list[str] = []
    best: TinyModel | None = None
    classes = _classes_for(kind)
    for how in Shrink:
        if best is not None and how > Shrink.NUMBERS:
            return best
        for model_class in classes:
            try:
                tiny = tiny_of(model_class, shrink(kind(), how), seed)
            except ImportError as error:
                raise RuntimeError(_short(error, "ImportError")) from error
            except Exception as error:
                errors.append(_short(error, type(error).__name__))
                continue
            if tiny.unread <= MOST_UNREAD:
                return tiny
            if best is None or tiny.unread < best.unread:
                best = tiny
    if best is not None:
        return best
    raise RuntimeError(errors[0] if errors else "it has no model of its own, and is a part of others")


def _short(error: Exception, *where: str) -> str:
    return ": ".join((*where, str(error)))[:200].replace("\n", " ")


def _classes_for(kind: Any) -> list[Any]:
    """The classes that stand for a configuration, best first."""
    from transformers.models.auto import modeling_auto

    registered = [getattr(modeling_auto, name) for name in MAPPINGS]
    found = [mapping[kind] for mapping in registered if kind in mapping]
    classes = [each[0] if isinstance(each, tuple) else each for each in found]
    return list(dict.fromkeys(classes)) or _classes_of(kind)


def _classes_of(kind: Any) -> list[Any]:
    """Models of this configuration that no auto class knows: towers of larger models."""
    from transformers import PreTrainedModel

    module = importlib.import_module(kind.__module__.replace("configuration_", "modeling_"))
    classes = [each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, PreTrainedModel)]
    return [each for each in classes if each.config_class is kind and not each.__name__.endswith("PreTrainedModel")]


def tiny_of(model_class: Any, config: Any, seed: int = 0) -> TinyModel:
    """A model of this class and configuration, on the inputs that make it read most of its parameters."""
    if (size := _size(model_class, config)) > MOST_PARAMETERS:
        raise RuntimeError(f"{size:,} parameters are too many for a tiny model")
    errors: list[str] = []
    for attention in ATTENTIONS:
        if found := _tiny_with(attention, model_class, config, seed, errors):
            return found
        if not any(NO_NUMBERS in error for error in errors):
            break
    raise RuntimeError(errors[0] if errors else "no inputs are known")


def _tiny_with(attention: str, model_class: Any, config: Any, seed: int, errors: list[str]) -> TinyModel | None:
    """With attention computed so; None where it does not run on any inputs."""
    torch.manual_seed(seed)
    model = _new(model_class, config, attention).double().eval()
    randomise(model, torch.Generator().manual_seed(seed))
    best: TinyModel | None = None
    for inputs in make_inputs(model, config):
        found = _tried(model, config, inputs, errors)
        if found is not None and (best is None or found.unread < best.unread):
            best = found
        if best is not None and best.unread <= MOST_UNREAD:
            return best
    return best


def _tried(model: nn.Module, config: Any, inputs: dict[str, Any], errors: list[str]) -> TinyModel | None:
    """The model with these inputs, or with what it says is missing among them; None where it does not run."""
    for _ in range(REPAIRS):
        tokens = [inputs[name] for name in inputs if name.endswith("input_ids")]
        reads = _Reads(model)
        tiny = TinyModel(model, inputs, tokens, VOCABULARY)
        try:
            with torch.no_grad(), reads:
                found = output_tensors(tiny.run())
            if not all(tensor.isfinite().any() for tensor in found if tensor.numel()):
                raise FloatingPointError(NO_NUMBERS)
        except Exception as error:
            errors.append(_short(error, "+".join(inputs), type(error).__name__))
            better = repaired(str(error), inputs, config, model)
            if better is None:
                return None
            inputs = better
            continue
        return replace(tiny, unread=reads.unread)
    return None


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]  # Torch has no annotation there.
    """Sees which parameters a run reads."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self.count = max(1, len(self.left))

    @property
    def unread(self) -> float:
        """Share of the parameters that no operation has read."""
        return len(self.left) / self.count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.left:
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self.left -= {tensor.untyped_storage()._cdata for tensor in read}
        return func(*args, **(kwargs or {}))


def _size(model_class: Any, config: Any) -> int:
    """Number of parameters, without making them; 0 where a class needs numbers to be made."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in _new(model_class, config).parameters())
    except TypeError:
        return 0


def _new(model_class: Any, config: Any, attention: str = ATTENTIONS[0]) -> nn.Module:
    if "generat" in model_class.__name__:
        raise RuntimeError("generates only")
    model: nn.Module = model_class._from_config(config, attn_implementation=attention, experts_implementation="eager")
    return model


def randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Away from what is special: biases of nought, gains of one, equal rows, and memory that nobody has written."""
    statistics = {name: buffer for name, buffer in model.named_buffers() if "running" in name}
    with torch.no_grad():
        for name, tensor in {**dict(model.named_parameters()), **statistics}.items():
            if not tensor.numel() or not tensor.dtype.is_floating_point:
                continue
            if not (tensor.isfinite().all() and tensor.abs().max() < UNWRITTEN):
                tensor.zero_()
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            if name.endswith("running_var"):
                tensor.copy_(noise.abs() + 0.5)
            elif tensor.ndim > 1:
                tensor.add_(noise, alpha=1.3 * (tensor[0].numel() + 1) ** -0.5)
            else:
                tensor.add_(noise, alpha=0.2)

"""The wiring of an architecture from a `config.json`: a tiny model of its class is built and traced.

    python -m zoo.tracing.of_config < config.json

Prints one JSON object: `wiring`, proven by running, or `failed` with the reason. The class is one of the installed
`transformers`; no code of a model repository is run, no file is read and no request is sent. The sizes of the
configuration are made small and its layers few, so that the time does not depend on the model's size; the class is
first built on the meta device. What starts this as a process sets the limit on time; the one on memory is set here.
"""

import json
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.tracing.build import VOCABULARY, build_tiny, shrink, tiny_of
from zoo.tracing.derive import derive
from zoo.tracing.prove import prove
from zoo.tracing.roles import read_wiring
from zoo.tracing.traced import TracedWiring

__all__ = ["main", "trace_config"]

BYTES = 8 << 30
"""Of address space."""
NOT_THE_MODEL = ("quantization_config", "auto_map", "torch_dtype", "dtype", "_name_or_path", "transformers_version")
"""Settings that say how a checkpoint is stored or loaded."""


def trace_config(config: Mapping[str, Any]) -> TracedWiring:
    """The wiring of the class that a checkpoint was saved from, or of the first of its type that runs.

    Raises `ValueError` for a model type that the installed `transformers` does not have, and where the symmetries that
    were derived change what the tiny model gives out; and whatever the code of the model raises.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ValueError(f"transformers has no model type {kind!r}")
    model_class = _saved_class(config, CONFIG_MAPPING[kind])
    if model_class is None:
        tiny = build_tiny(kind)
    else:
        settings = {name: value for name, value in config.items() if name not in NOT_THE_MODEL}
        tiny = tiny_of(model_class, shrink(CONFIG_MAPPING[kind].from_dict(settings)))
    found = derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary)
    proof = prove(found, tiny.model, tiny.run, tokens=tiny.tokens, rng=np.random.default_rng(0), tries=0)
    if not proof.holds:
        raise ValueError(f"what was derived from {type(tiny.model).__name__} does not hold when it is run")
    return read_wiring(found, tiny.model, vocabulary=VOCABULARY).with_names(_saved_names(tiny.model))


def _saved_names(model: Any) -> dict[str, str]:
    """Name of a parameter -> its name in a file, for those that `transformers` renames when it loads and saves."""
    from transformers.core_model_loading import revert_weight_conversion

    state = model.state_dict(keep_vars=True)
    own = {id(tensor): name for name, tensor in state.items()}
    saved = revert_weight_conversion(model, dict(state))
    return {own[id(t)]: name for name, t in saved.items() if id(t) in own and own[id(t)] != name}


def _saved_class(config: Mapping[str, Any], kind: Any) -> Any:
    """The class of `transformers` that `architectures` names, if it is one of this configuration."""
    import transformers

    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    found = (getattr(transformers, name, None) for name in names)
    return next((each for each in found if getattr(each, "config_class", None) is kind), None)


def main() -> None:
    """From standard input to standard output; all that the libraries print goes nowhere."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    config = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            result: dict[str, Any] = {"wiring": trace_config(config).as_json()}
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    with answer:
        json.dump(result, answer)


if __name__ == "__main__":
    main()

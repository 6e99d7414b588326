"""What is sound, to be damaged: a home of three small models, a DNA, a shared pattern, a GGUF file. Made once."""

import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.hostile.kinds.models import write
from benchmarks.hostile.product import command

__all__ = ["SEED", "copy_of_home", "dna_file", "gguf_file", "pattern_file", "sound_home", "sound_model"]

SEED = 17
CONFIG = {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8}
OPTIONS = ("--nulls", "1", "--epochs", "1")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hostile-sound-")


def sound_model(number: int) -> Path:
    """The folder of a small model of two layers; another one for each number."""
    folder = Path(_folder().name) / f"model-{number}"
    if not folder.exists():
        folder.mkdir()
        rng = np.random.default_rng([SEED, number])
        write(folder, _values(rng), CONFIG)
    return folder


def _values(rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    names = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    found = {
        f"encoder.layer.{layer}.{name}.weight": rng.normal(size=(8, 8)).astype(np.float32)
        for layer in range(2)
        for name in names
    }
    return found | {"embeddings.word_embeddings.weight": rng.normal(size=(32, 8)).astype(np.float32)}


@cache
def sound_home() -> Path:
    """A home in which `one`, `two` and `three` are mined."""
    home = Path(_folder().name) / "home"
    for number, key in enumerate(("one", "two", "three")):
        said = command(home, "mine", "--local", str(sound_model(number)), "--name", key, *OPTIONS)
        assert said.code == 0, said.err
    return home


def copy_of_home(target: Path) -> Path:
    """A copy of `sound_home` that may be damaged."""
    shutil.copytree(sound_home(), target)
    return target


@cache
def dna_file() -> Path:
    """The DNA of `one`."""
    return next(sound_home().glob("runs/*/models/one/**/dna.safetensors"), None) or next(
        sound_home().rglob("dna.safetensors")
    )


@cache
def pattern_file() -> Path:
    """A shared pattern, as `library export` writes it."""
    from library.patterns.records import DEPTHS, Evidence, Key, Lineage, Part, SharedPattern
    from library.patterns.store import write_pattern

    rng = np.random.default_rng(SEED)
    evidence = Evidence(lineages=3, explained=0.5, null=0.1, p=0.01, q=0.02)
    parts = {
        Key("attention_query", term): Part(
            values=rng.normal(size=(len(DEPTHS), 4)).astype(np.float32), lineages=3, evidence=evidence
        )
        for term in ("scale", "spectrum")
    }
    lineages = tuple(Lineage(name=each, models=(each,)) for each in ("one", "two", "three"))
    path = Path(_folder().name) / "pattern.safetensors"
    write_pattern(SharedPattern(name="shared", parts=parts, lineages=lineages, num_draws=3), path)
    return path


@cache
def gguf_file() -> tuple[Path, Mapping[str, npt.NDArray[np.float32]]]:
    """A file of two plain and one quantised tensor, and the values of the plain ones."""
    import gguf

    rng = np.random.default_rng(SEED)
    plain = {
        "blk.0.attn_q.weight": rng.normal(size=(8, 8)).astype(np.float32),
        "output_norm.weight": rng.normal(size=8).astype(np.float32),
    }
    path = Path(_folder().name) / "model.gguf"
    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(8)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    for name, values in plain.items():
        writer.add_tensor(name, values)
    rows = rng.normal(size=(8, 32)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("blk.0.ffn_up.weight", gguf.quants.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, plain

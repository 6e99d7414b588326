"""Which files of a folder are the model: as libraries and training scripts leave them."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dna_zoo.errors import DamagedFileError, NoWeightsError
from pipeline.weights.files import DIFFUSION_NAMES, WEIGHT_NAMES, WEIGHT_SUFFIXES
from pipeline.weights.slices import find_slices, is_sliced

__all__ = [
    "FoundWeights",
    "find_weights",
    "holds_weights",
    "is_inside",
    "is_weights",
    "require_whole",
    "shard_names",
    "snapshot",
]

NO_MODEL = ("optim", "sched", "scaler", "training_args", "rng_state", "random_states", "trainer_state")
"""How the names of files begin that training leaves beside a model."""
FOREIGN = {
    "tf_model.h5": ("TensorFlow", "Load it with `from_tf=True` in transformers 4, and save it with `save_pretrained`."),
    "flax_model.msgpack": (
        "Flax",
        "Load it with `from_flax=True` in transformers 4, and save it with `save_pretrained`.",
    ),
    "*.onnx": ("ONNX", "Mine the PyTorch model that it was exported from."),
}
"""Files of other frameworks: whose, and what to do."""
LOCAL_NAMES = (*WEIGHT_NAMES, *DIFFUSION_NAMES)
"""In the order they are preferred; on the Hub, where each costs a request, the first of them alone are looked for."""
INDEX = re.compile(r"\.index(?:\.\w+)?\.json$")
"""How the name of an index ends; a variant's name stands before the last suffix."""
CACHE = "models--"
NAMED = 5
"""Files or folders that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWeights:
    """The files to read, and what was chosen where there was a choice."""

    paths: tuple[Path, ...]
    folder: Path
    """Where the model's other files are."""
    notes: tuple[str, ...] = ()


def find_weights(path: Path) -> FoundWeights:
    """The files of weights at `path`: the file itself, or the preferred ones of a directory (shards sorted).

    Raises `NoWeightsError`, and `DamagedFileError` where an index names a shard that is not there.
    """
    notes: tuple[str, ...] = ()
    if path.is_dir():
        path, notes = _choose(snapshot(path))
    if path.is_symlink() and not path.exists():
        raise DamagedFileError(
            f"{str(path)!r} is a link to {str(path.readlink())!r}, which is not there.",
            hint="Copy the file that the link names to that place, or name a folder that has it.",
        )
    if not path.is_file():
        raise NoWeightsError(f"There is no file or directory {str(path)!r}.", hint="Check the path.")
    if INDEX.search(path.name):
        found = _shards(path)
        return replace(found, notes=(*notes, *found.notes))
    if path.suffix not in WEIGHT_SUFFIXES:
        raise NoWeightsError(
            f"{str(path)!r} is no file of weights that dna-zoo reads.",
            hint="Give a .safetensors file, a PyTorch .bin, .pt, .pth or .ckpt file, an index of shards, or their"
            " directory.",
        )
    paths = find_slices(path)
    joined = (f"{len(paths)} slices of each matrix are put together ({_listed(paths)}).",) if len(paths) > 1 else ()
    return FoundWeights(paths=paths, folder=path.parent, notes=(*notes, *joined))


def snapshot(directory: Path) -> Path:
    """The newest commit of a model's folder in the Hugging Face cache; any other directory is itself."""
    snapshots = directory / "snapshots"
    if not (directory.name.startswith(CACHE) and snapshots.is_dir()):
        return directory
    main = directory / "refs" / "main"
    commits = sorted(each for each in snapshots.iterdir() if each.is_dir())
    if main.is_file() and (pinned := snapshots / main.read_text().strip()) in commits:
        return pinned
    if len(commits) == 1:
        return commits[0]
    raise NoWeightsError(
        f"{str(directory)!r} holds {len(commits)} commits of a model, and none of them is its main one.",
        hint=f"Name the folder of one: {_listed(commits)}."
        if commits
        else "Name the model by its Hub id: what is missing is fetched.",
    )


def _choose(directory: Path) -> tuple[Path, tuple[str, ...]]:
    """The file to read in a directory, and a sentence on those that it leaves out."""
    preferred = [directory / name for name in LOCAL_NAMES if (directory / name).is_file()]
    dangling = [directory / name for name in LOCAL_NAMES if (directory / name).is_symlink()]
    if preferred or dangling:
        first, *others = preferred or dangling
        notes = (f"{first.name!r} is read, and not {_listed(others)} beside it.",) if others else ()
        return first, notes
    indexes = [path for path in sorted(directory.glob("*.json")) if INDEX.search(path.name)]
    if len(indexes) == 1:
        return indexes[0], ()
    for suffix in WEIGHT_SUFFIXES:
        found = [path for path in sorted(directory.glob(f"*{suffix}")) if not path.name.startswith(NO_MODEL)]
        if len(found) == 1:
            return found[0], ()
        if found and is_sliced(found):
            return found[0], ()
        if found:
            raise NoWeightsError(
                f"The directory {str(directory)!r} holds {len(found)} {suffix} files and no index that joins them.",
                hint=f"Name the one to take: {_listed(found)}.",
            )
    raise _nothing_in(directory)


def holds_weights(directory: Path) -> bool:
    """Whether a file of weights lies in the directory itself."""
    return directory.is_dir() and any(is_weights(path.name) for path in directory.iterdir())


def is_weights(name: str) -> bool:
    """Whether a file of this name holds weights, and not what training leaves beside them."""
    return name.endswith(WEIGHT_SUFFIXES) and not name.startswith(NO_MODEL)


def _nothing_in(directory: Path) -> NoWeightsError:
    """What a directory without weights holds, and what to do with it."""
    for pattern, (framework, hint) in FOREIGN.items():
        if found := sorted(directory.glob(pattern)):
            return NoWeightsError(
                f"{str(found[0])!r} holds weights of {framework}, which dna-zoo does not read.", hint=hint
            )
    below = {path.parent for name in WEIGHT_NAMES for path in directory.glob(f"*/{name}")}
    nested = sorted({*below, *directory.glob(f"{CACHE}*")})
    if nested:
        return NoWeightsError(
            f"The directory {str(directory)!r} holds no weights itself.",
            hint=f"Name a folder in it that does: {_listed(nested)}.",
        )
    return NoWeightsError(
        f"The directory {str(directory)!r} holds no weights.",
        hint="It must hold model.safetensors or pytorch_model.bin (or their shards with an index).",
    )


def _listed(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more


def _shards(index: Path) -> FoundWeights:
    """The shards that an index names; without those that are not there, where others hold what it places in them."""
    weight_map = _weight_map(index)
    names = sorted(set(weight_map.values()))
    absent = {name for name in names if not (index.parent / name).is_file()}
    paths = tuple(index.parent / name for name in names if name not in absent)
    named = [_names_in(path) for path in paths]
    is_known = bool(named) and all(names is not None for names in named)
    held = {tensor for names in named for tensor in names or ()}
    lost = sorted(tensor for tensor, name in weight_map.items() if name in absent and tensor not in held)
    if lost:
        raise DamagedFileError(
            f"{str(index)!r} names the shard {weight_map[lost[0]]!r}, which is not there.",
            hint="Put that shard beside the others: it was not copied, or is still on its way.",
        )
    missing = sorted(tensor for tensor in weight_map if tensor not in held) if is_known else []
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DamagedFileError(
            f"{str(index)!r} names the tensor {missing[0]!r}{more}, which no shard holds.",
            hint="The index is of another state than its shards: take both from one source.",
        )
    stale = (
        (f"The index names {_listed(map(Path, sorted(absent)))}, not there; the other shards hold it all.",)
        if absent
        else ()
    )
    extra = sorted({path.name for path in index.parent.glob(f"*{paths[0].suffix}")} - {path.name for path in paths})
    unread = (f"{_listed(map(Path, extra))} beside the shards is not in their index, and not read.",) if extra else ()
    return FoundWeights(paths=paths, folder=index.parent, notes=(*stale, *unread))


def _names_in(path: Path) -> list[str] | None:
    """Names of the tensors in a shard; None where they cannot be had: reading it says what is wrong with it."""
    if path.suffix != ".safetensors":
        from pipeline.weights.torch_file import names_in

        return names_in(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        return None


def require_whole(paths: Sequence[Path]) -> None:
    """Raise `DamagedFileError` where an index beside these shards names a tensor that none of them holds."""
    names = {path.name for path in paths}
    for index in sorted(paths[0].parent.glob("*.json")):
        if INDEX.search(index.name) and {*shard_names(index)} == names:
            _shards(index)


def shard_names(index: Path) -> tuple[str, ...]:
    """The files that a `*.index.json` spreads its tensors over, sorted."""
    return tuple(sorted(set(_weight_map(index).values())))


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor -> file. The names come from the file: none may lead out of its folder."""
    try:
        found = {str(tensor): str(name) for tensor, name in json.loads(index.read_bytes())["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad_index(index) from error
    if not found or not all(is_inside(name) for name in found.values()):
        raise _bad_index(index)
    return found


def is_inside(name: str) -> bool:
    """Whether a name that a file gives leads into its folder and not out of it."""
    path = PurePosixPath(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _bad_index(index: Path) -> DamagedFileError:
    return DamagedFileError(
        f"{str(index)!r} is not an index of shards.",
        hint="It must be a JSON object whose `weight_map` gives each tensor the name of a file in this folder.",
    )

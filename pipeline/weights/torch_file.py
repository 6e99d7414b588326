"""Read tensors from a PyTorch `.bin`, `.pt` or `.pth` file: a pickle, so never without `weights_only`.

torch refuses a pickle that calls anything but the rebuilding of tensors; its own text then suggests to switch that off.
That text goes nowhere near a person.
"""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from dna_zoo.errors import DamagedFileError, DnaZooError, UnsafeFileError
from pipeline.arrays import Array, Float32
from pipeline.weights.state_dict import choose_state_dict
from zoo.tensors import TensorHeader

__all__ = ["TorchFile", "names_in"]

_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
MOST_REPEATED = 1 << 24
"""Values of a tensor that need not all be in the file: repeated along an axis, or zeros of a sparse one."""
# What torch's restricted unpickler says when it meets an instruction that it knows and will not follow.
_CALL = re.compile(r"GLOBAL ([\w.]+)")
_INSTRUCTION = re.compile(r"Unsupported operand (\d+)")
_OTHER = re.compile(r"unrecognized function|Can only|must be imported")


class TorchFile:
    """A loaded file; the zip format (torch 1.6 and later) is mapped, the older one is read into memory."""

    def __init__(self, path: Path, state_dict: str | None = None, *, is_part: bool = False) -> None:
        """- `is_part`: whether it is one of several shards, whose tensors are a set together."""
        self.path = path
        chosen = choose_state_dict(_load(path), path, state_dict, is_part=is_part)
        self.schemes: dict[str, str] = {}
        """Empty: how tensors are quantised is not in this format."""
        self.key = chosen.key
        """Of the mapping that is read; empty for a file that is one."""
        self.notes = chosen.notes
        """What was chosen, where there was a choice."""
        self.others = chosen.others
        """Sets of weights that are not read -> their bytes."""
        self._tensors = chosen.tensors
        self.headers = tuple(_header(name, tensor) for name, tensor in self._tensors.items())
        self.shared = _shared(self._tensors)
        """Name -> first name with the same storage, shape and strides."""

    def array(self, header: TensorHeader, *, exact: bool = False) -> Array:
        """All values in the header's shape: integers as they are stored, all else as float32; not to be written to.

        - `exact`: float64 stays as it is stored, too.
        """
        tensor = self._dense(header)
        is_kept = not tensor.is_floating_point() or (exact and header.dtype == "F64")
        return np.asarray((tensor if is_kept else tensor.float()).numpy())

    def entry(self, header: TensorHeader, index: int) -> Array:
        """One entry along the first axis of the header's shape, as `array` gives them."""
        tensor = self._dense(header).reshape(header.shape)[index]
        return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())

    def chunks(self, header: TensorHeader, size: int) -> Iterator[Float32]:
        """The values of a floating tensor as float32, flat and in order, `size` at a time; not to be written to."""
        flat = self._dense(header).reshape(-1)
        for start in range(0, flat.numel(), size):
            yield flat[start : start + size].float().numpy()

    def _dense(self, header: TensorHeader) -> Any:
        import torch

        tensor = self._tensors[header.name].detach()
        return (tensor if tensor.layout is torch.strided else tensor.to_dense()).resolve_conj().resolve_neg()

    def close(self) -> None:
        self._tensors = {}


def names_in(path: Path) -> list[str] | None:
    """Names of the tensors that a file holds by name and nothing else; None for any other file."""
    import torch

    try:
        loaded = _load(path)
    except (DnaZooError, OSError):
        return None
    is_plain = isinstance(loaded, Mapping) and all(isinstance(value, torch.Tensor) for value in loaded.values())
    return [str(name) for name in loaded] if is_plain else None


def _load(path: Path) -> Any:
    import torch

    try:
        is_archive = zipfile.is_zipfile(path)
        entries = zipfile.ZipFile(path).infolist() if is_archive else []
    except Exception as error:  # zipfile lets through what it stumbles over as well.
        raise _translated(error, path) from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise UnsafeFileError(
            f"{str(path)!r} is a TorchScript archive, which holds code beside its weights, and was not run.",
            hint="Save its weights: `torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')`.",
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        # Mapped, compressed bytes would pass for weights; unpacked, kilobytes may become gigabytes.
        raise DamagedFileError(
            f"{str(path)!r} is an archive whose entries are compressed; torch saves them as they are.",
            hint="Save it again with `torch.save(torch.load(FILE, weights_only=True), FILE)`.",
        )
    if len({entry.filename for entry in entries}) < len(entries):
        # Which of two is the tensor's, every reader would decide for itself.
        raise DamagedFileError(
            f"{str(path)!r} is an archive that holds two entries of one name.",
            hint="Save it again with `torch.save(torch.load(FILE, weights_only=True), FILE)`.",
        )
    try:
        with warnings.catch_warnings():
            # About pickle protocols and storages of old; nothing a reader of weights could do about them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except Exception as error:
        # torch lets through whatever its unpickler stumbles over: KeyError, EOFError, RuntimeError and more.
        raise _translated(error, path) from error


def _translated(error: Exception, path: Path) -> DnaZooError:
    wish = _refused_wish(str(error)) if isinstance(error, UnpicklingError) else None
    if wish is None:
        size = path.stat().st_size
        return DamagedFileError(
            f"{str(path)!r} ({size:,} bytes) cannot be read by torch as a file of weights.",
            hint="Compare its size with the original's: it may have been cut short, or be of another format.",
        )
    return UnsafeFileError(
        f"The pickle {str(path)!r} {wish}, and was not run.",
        hint="Use a .safetensors version of the model, or one from a source you trust.",
    )


def _refused_wish(text: str) -> str | None:
    """What the pickle wants to do that torch refused; None if it is no pickle at all, or half of one."""
    if call := _CALL.search(text):
        return f"wants to call {call[1]!r}"
    instruction = _INSTRUCTION.search(text)
    is_pickle = instruction is not None and chr(int(instruction[1])) in {known.code for known in pickletools.opcodes}
    return "holds more than tensors" if is_pickle or _OTHER.search(text) else None


def _header(name: str, tensor: Any) -> TensorHeader:
    if tensor.is_nested:  # Of tensors of several shapes; it has none itself.
        return TensorHeader(name=name, shape=(tensor.numel(),), dtype="nested")
    dtype = _not_stored(tensor) or str(tensor.dtype).removeprefix("torch.")
    return TensorHeader(name=name, shape=tuple(tensor.shape), dtype=_DTYPES.get(dtype, dtype))


def _not_stored(tensor: Any) -> str:
    """Why the values are not in the file; empty where they are, or are few."""
    import torch

    if tensor.is_meta:
        return "meta"
    if tensor.numel() <= MOST_REPEATED:
        return ""
    if tensor.layout is not torch.strided:
        return "sparse"
    return "expanded" if tensor.numel() > tensor.untyped_storage().nbytes() // tensor.element_size() else ""


def _shared(tensors: Mapping[str, Any]) -> dict[str, str]:
    import torch

    first: dict[Any, str] = {}
    shared = {}
    for name, tensor in tensors.items():
        if tensor.is_nested or tensor.layout is not torch.strided or tensor.numel() == 0:
            continue
        original = first.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype), name)
        if original != name:
            shared[name] = original
    return shared

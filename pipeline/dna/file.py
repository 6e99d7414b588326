"""The file of a DNA, `dna.safetensors`: safetensors, with all that is no array as JSON in its metadata. Format 3.

One entry of the metadata, `dna`, holds `{"format", "sha256", "contents"}`; the digest is of the contents and of every
array. Arrays: `networks/N/NAME`, the parameters of stack N (networks first, float32); `rows/TENSOR` and `cols/TENSOR`,
which row and column of the file stands where (int32), `row_signs/TENSOR` and `col_signs/TENSOR` where signs are free
(int8), `row_means/TENSOR` and `col_means/TENSOR` where means were bought (float32), all in the order of the DNA.

`shuffled.safetensors`, beside it in the folder of a fit, has the same format: the DNA of the first shuffled copy of
each matrix, whose "file" is that copy as it was drawn.

Format 2, `dna.pt`, is read too (`pipeline.dna.format_2`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cattrs import structure
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dna_zoo.errors import DnaFileError
from dna_zoo.files import whole_file
from pipeline.arrays import Array
from pipeline.dna.contents import DnaContents, KeptNetwork, KeptTensor, KeptTie
from pipeline.fit.sizing import NetworkSize
from pipeline.order import ORDER_PARTS, CanonicalOrder
from pipeline.settings import FitSettings
from zoo.layout import Layout
from zoo.tensors import TensorSpec

__all__ = ["DNA_FILE", "FORMAT", "SHUFFLED_FILE", "is_whole", "read_dna", "unreadable", "write_dna"]

DNA_FILE, SHUFFLED_FILE = "dna.safetensors", "shuffled.safetensors"
FORMAT = 3
MEANS_ARRAYS = ("row_means", "col_means")
AGAIN = "Mine the model again with `dna-zoo mine KEY`, or copy the file anew."

Arrays = dict[str, Array]


def write_dna(path: Path, contents: DnaContents) -> None:
    """The file is there whole or not at all; the same contents give the same bytes."""
    arrays = _arrays_of(contents)
    text = json.dumps(_plain(contents), sort_keys=True, separators=(",", ":"), allow_nan=False)
    entry = {"format": FORMAT, "sha256": _digest(text, arrays), "contents": text}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as made:
        # One entry: the library writes several in an order that changes from process to process.
        made.write_bytes(save(arrays, metadata={"dna": json.dumps(entry)}))


def read_dna(path: Path) -> DnaContents:
    """The contents of a file of format 3. Raises `DnaFileError` if it is damaged, newer, or no DNA."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        arrays: Arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, TypeError) as error:
        raise DnaFileError(f"{str(path)!r} is damaged, or no file of DNA ({error}).", hint=AGAIN) from error
    return _contents_of(path, metadata, arrays)


def unreadable(path: Path, error: OSError) -> DnaFileError:
    """What is said of a file that cannot be opened."""
    return DnaFileError(
        f"{str(path)!r} cannot be read ({error.strerror or error}).", hint="Check the path and its permissions."
    )


def is_whole(path: Path) -> bool:
    """Whether the file is there, and agrees with its own digest."""
    try:
        read_dna(path)
    except DnaFileError:
        return False
    return True


def _contents_of(path: Path, metadata: Mapping[str, str], arrays: Arrays) -> DnaContents:
    if "dna" not in metadata:
        raise DnaFileError(
            f"{str(path)!r} is a safetensors file, and not a DNA.",
            hint="Give the `dna.safetensors` that mining left, or a key: `dna-zoo show KEY` says where its files are.",
        )
    try:
        entry = json.loads(metadata["dna"])
        if entry["format"] > FORMAT:
            raise DnaFileError(
                f"{str(path)!r} has format {entry['format']}, and this version reads up to {FORMAT}.",
                hint="Install a newer version of dna-zoo.",
            )
        if entry["sha256"] != _digest(entry["contents"], arrays):
            raise DnaFileError(f"{str(path)!r} does not agree with its own digest: it is damaged.", hint=AGAIN)
        return _structured(json.loads(entry["contents"]), arrays)
    except DnaFileError:
        raise
    except Exception as error:  # Its digest is right: another program wrote it.
        raise DnaFileError(
            f"{str(path)!r} is no complete DNA ({type(error).__name__}: {error}).", hint=AGAIN
        ) from error


def _digest(text: str, arrays: Arrays) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name}|{array.dtype.str}|{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _arrays_of(contents: DnaContents) -> Arrays:
    arrays: Arrays = {
        f"networks/{number}/{name}": value.numpy()
        for number, network in enumerate(contents.networks)
        for name, value in network.state.items()
    }
    for tensor in contents.tensors:
        parts = {name: getattr(tensor.order, name) for name in ORDER_PARTS}
        parts |= {name: getattr(tensor, name) for name in MEANS_ARRAYS}
        arrays |= {
            f"{name}/{tensor.spec.name}": np.ascontiguousarray(part) for name, part in parts.items() if part is not None
        }
    return arrays


def _plain(contents: DnaContents) -> dict[str, Any]:
    """All that is no array, as JSON has it."""
    return {
        "model": contents.model,
        "digest": contents.digest,
        "settings": asdict(contents.settings),
        "versions": dict(contents.versions),
        "reported": dict(contents.reported),
        "networks": [
            {"size": asdict(each.size), "in_dim": each.in_dim, "row_omega": each.row_omega, "col_omega": each.col_omega}
            for each in contents.networks
        ],
        "tensors": [_plain_tensor(tensor) for tensor in contents.tensors],
        "ties": [{**asdict(tie), "layout": _known(tie.layout)} for tie in contents.ties],
    }


def _plain_tensor(tensor: KeptTensor) -> dict[str, Any]:
    apart = {"spec", "layout", "order", *MEANS_ARRAYS}
    return {
        "spec": asdict(tensor.spec),
        "layout": _known(tensor.layout),
        "sorted": [tensor.order.sorted_rows, tensor.order.sorted_cols],
        **{field.name: getattr(tensor, field.name) for field in fields(tensor) if field.name not in apart},
    }


def _known(layout: Layout) -> dict[str, Any]:
    """The layout without what few have, so that the files of all others stay the same."""
    return {name: value for name, value in asdict(layout).items() if (name, value) != ("entries", None)}


def _structured(data: Mapping[str, Any], arrays: Arrays) -> DnaContents:
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith("networks/"):
            _, number, parameter = name.split("/", 2)
            states.setdefault(int(number), {})[parameter] = torch.from_numpy(array)
    return DnaContents(
        model=data["model"],
        digest=data["digest"],
        settings=_settings(data["settings"]),
        versions=data["versions"],
        reported=data["reported"],
        networks=tuple(
            KeptNetwork(**{**each, "size": NetworkSize(**each["size"])}, state=states[number])
            for number, each in enumerate(data["networks"])
        ),
        tensors=tuple(_tensor_of(each, arrays) for each in data["tensors"]),
        ties=tuple(structure(each, KeptTie) for each in data["ties"]),
    )


def _settings(data: Mapping[str, Any]) -> FitSettings:
    """Settings of another version: those that this one knows; the others have their default."""
    known = {field.name for field in fields(FitSettings)}
    return FitSettings(**{name: value for name, value in data.items() if name in known})


def _tensor_of(data: Mapping[str, Any], arrays: Arrays) -> KeptTensor:
    plain = dict(data)
    spec, layout = structure(plain.pop("spec"), TensorSpec), structure(plain.pop("layout"), Layout)
    sorted_rows, sorted_cols = plain.pop("sorted")
    order = CanonicalOrder(
        rows=arrays[f"rows/{spec.name}"],
        cols=arrays[f"cols/{spec.name}"],
        row_signs=arrays.get(f"row_signs/{spec.name}"),
        col_signs=arrays.get(f"col_signs/{spec.name}"),
        sorted_rows=sorted_rows,
        sorted_cols=sorted_cols,
    )
    means: dict[str, Any] = {name: arrays.get(f"{name}/{spec.name}") for name in MEANS_ARRAYS}
    return KeptTensor(spec=spec, layout=layout, order=order, **means, **{**plain, "place": tuple(plain["place"])})

"""The file of a DNA: self-contained, the same bytes each time, its own digest, and errors that say what to do."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from dna_zoo.errors import DnaFileError
from pipeline.dna.dna import Dna
from pipeline.dna.file import DNA_FILE, FORMAT, read_dna, write_dna
from tests.support.dnas import BRIEF, Fitted, fit_files
from tests.support.weight_files import files_of

NAME = "bert.encoder.layer.0.attention.self.query.weight"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Two matrices, one of them with free signs."""
    folder, generator = tmp_path_factory.mktemp("dna"), torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(shape, generator=generator)
        for name, shape in ((NAME, (24, 16)), ("bert.encoder.layer.0.intermediate.dense.weight", (32, 16)))
    }
    save_torch(weights, folder / "model.safetensors")
    return fit_files(files_of(folder / "model.safetensors"), BRIEF, folder / "fit")


def metadata_of(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    found = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert isinstance(found, dict)
    return found


def test_what_is_read_is_what_was_written(fitted: Fitted, tmp_path: Path) -> None:
    fitted.dna.save(tmp_path / "a" / "copy.safetensors")
    assert (tmp_path / "a" / "copy.safetensors").read_bytes() == fitted.path.read_bytes()
    again = Dna.load(tmp_path / "a" / "copy.safetensors")
    assert (again.model, again.digest, again.settings) == ("tiny", "0" * 64, BRIEF)
    assert dict(again.versions).keys() == {"dna_zoo", "fit", "order"} and again.reported["r2"] is not None
    assert [each.spec for each in again.tensors] == list(fitted.inventory.matrices)
    assert all(torch.equal(again[name].matrix(), fitted.dna[name].matrix()) for name in again)


def test_the_file_needs_nothing_else(fitted: Fitted) -> None:
    order = Dna.load(fitted.path)[NAME].order
    assert sorted(order.rows) == list(range(24)) and order.row_signs is not None and order.col_signs is None


def test_another_program_reads_its_arrays(fitted: Fitted) -> None:
    arrays = load_file(fitted.path)
    assert arrays[f"rows/{NAME}"].dtype == "int32" and arrays[f"row_signs/{NAME}"].dtype == "int8"
    assert json.loads(metadata_of(fitted.path)["dna"])["format"] == FORMAT


@pytest.mark.parametrize("place", [0, 4, 60, -1, -2000])
def test_a_changed_byte_is_seen(place: int, fitted: Fitted, tmp_path: Path) -> None:
    data = bytearray(fitted.path.read_bytes())
    data[place] ^= 4
    (tmp_path / DNA_FILE).write_bytes(data)
    with pytest.raises(DnaFileError) as caught:
        read_dna(tmp_path / DNA_FILE)
    assert str(tmp_path / DNA_FILE) in caught.value.message and caught.value.hint


def test_a_file_that_was_cut_short_is_seen(fitted: Fitted, tmp_path: Path) -> None:
    data = fitted.path.read_bytes()
    for length in (0, 5, 100, len(data) - 1):
        (tmp_path / DNA_FILE).write_bytes(data[:length])
        with pytest.raises(DnaFileError, match="damaged"):
            read_dna(tmp_path / DNA_FILE)


def test_foreign_newer_and_missing_files_say_what_to_do(fitted: Fitted, tmp_path: Path) -> None:
    with pytest.raises(DnaFileError, match="is a safetensors file, and not a DNA") as caught:
        Dna.load(fitted.files.paths[0])
    assert "dna-zoo show KEY" in caught.value.hint
    entry = json.loads(metadata_of(fitted.path)["dna"]) | {"format": FORMAT + 1}
    save_file(load_file(fitted.path), tmp_path / "newer.safetensors", metadata={"dna": json.dumps(entry)})
    with pytest.raises(DnaFileError, match=f"has format {FORMAT + 1}"):
        Dna.load(tmp_path / "newer.safetensors")
    for name in ("nothing.safetensors", "nothing.pt"):
        with pytest.raises(DnaFileError, match=r"cannot be read \(No such file"):
            Dna.load(tmp_path / name)


def test_a_dna_that_another_program_wrote_badly_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    contents = fitted.dna.contents
    network = replace(contents.networks[0], state={})
    write_dna(tmp_path / DNA_FILE, replace(contents, networks=(network, *contents.networks[1:])))
    with pytest.raises(DnaFileError, match="no complete DNA"):
        read_dna(tmp_path / DNA_FILE)


# Format 2.


def old_file(fitted: Fitted, directory: Path) -> Path:
    """As versions before format 3 left it, from a fit that is still in its folder."""
    from pipeline.kept.sealed import save_tensors

    data = {"format": 2, "settings": {**vars_of(BRIEF)}, "networks": list(fitted.result.networks)}
    save_tensors(data, directory / "dna.pt")
    return directory / "dna.pt"


def vars_of(settings: object) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}  # type: ignore[attr-defined]


def test_an_old_file_is_read_with_its_order_beside_it(fitted: Fitted, tmp_path: Path) -> None:
    from pipeline.order import ORDER_FILE, seriate_tensor, write_orders
    from pipeline.weights.reader import WeightReader

    path = old_file(fitted, tmp_path)
    with pytest.raises(DnaFileError, match=r"did not keep the order.*does not hold it") as caught:
        Dna.load(path)
    assert "dna-zoo mine" in caught.value.hint
    with WeightReader(fitted.files) as reader:
        orders = {spec.name: seriate_tensor(reader.matrix(spec), spec) for spec in fitted.inventory.matrices}
    write_orders(tmp_path / ORDER_FILE, orders)
    old = Dna.load(path)
    for name, tensor in fitted.dna.items():
        assert torch.equal(old[name].matrix(), tensor.matrix()) and old[name].r2 is None
    assert Dna.load(path, order=tmp_path / ORDER_FILE)[NAME].order.row_signs is not None
    for refused in (old.state_dict, lambda: old.save(tmp_path / "new.safetensors")):
        with pytest.raises(DnaFileError, match="older version"):
            refused()


def test_an_old_file_runs_no_code(tmp_path: Path) -> None:
    import pickle

    class Bad:
        def __reduce__(self) -> object:
            return subprocess.run, (["touch", str(tmp_path / "ran")],)

    (tmp_path / "dna.pt").write_bytes(pickle.dumps(Bad()))
    with pytest.raises(DnaFileError, match="damaged, or no file of DNA"):
        Dna.load(tmp_path / "dna.pt")
    assert not (tmp_path / "ran").exists()

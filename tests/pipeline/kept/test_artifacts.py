"""Artifacts by URL: written whole, read with their digest checked, found by a machine that has the database alone."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from dna_zoo.errors import ArtifactError, DnaFileError, SettingsError
from patterndb.records import ArtifactRecord
from pipeline.dna.mined import mined_dna
from pipeline.kept.artifacts import ArtifactStore, artifact_file, bring, damaged_files, store_url
from pipeline.runs.runner import mine
from tests.support.ftp_server import ftp_server
from tests.support.mining import FAST, database_of, request
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow

# fsspec leaves connections and files of a failed transfer to the garbage collector.
LEAVES_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(params=["folder", "memory", pytest.param("ftp", marks=LEAVES_OPEN)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    """A folder, fsspec's memory, and an FTP server of this machine."""
    if request.param == "folder":
        yield ArtifactStore(store_url(str(tmp_path / "a store")))
    elif request.param == "memory":
        yield ArtifactStore(store_url(f"memory://{tmp_path.name}"))
    else:
        (tmp_path / "ftp").mkdir()
        with ftp_server(tmp_path / "ftp") as port:
            yield ArtifactStore(store_url(f"ftp://127.0.0.1:{port}/zoo"))
        fsspec.get_filesystem_class("ftp").clear_instance_cache()


def artifact_of(path: Path, content: bytes) -> ArtifactRecord:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return ArtifactRecord(kind="checkpoint", path="runs/r/m/x", sha256=digest, num_bytes=len(content))


def test_what_is_put_is_found_by_its_digest_and_comes_back(store: ArtifactStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    artifact = artifact_of(tmp_path / "x", content)
    assert not store.holds(artifact)
    url = store.put(tmp_path / "x", artifact)
    assert url == f"{store.url}/sha256/{artifact.sha256[:2]}/{artifact.sha256}"
    assert store.holds(artifact) and store.put(tmp_path / "x", artifact) == url
    home = tmp_path / "elsewhere"
    assert artifact_file(replace(artifact, url=url), home).read_bytes() == content
    assert [path.name for path in (home / "runs" / "r" / "m").iterdir()] == ["x"]


def test_half_of_a_file_is_written_again(store: ArtifactStore, tmp_path: Path) -> None:
    whole, half = artifact_of(tmp_path / "x", b"whole"), tmp_path / "half"
    artifact_of(half, b"wh")
    store.put(half, whole)
    assert not store.holds(whole)
    store.put(tmp_path / "x", whole)
    assert store.holds(whole)


def test_a_file_that_is_not_what_it_is_called_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path / "x", b"right")
    artifact_of(tmp_path / "wrong", b"wrong")
    url = store.put(tmp_path / "wrong", artifact)
    with pytest.raises(ArtifactError, match="damaged") as found:
        bring(url, tmp_path / "home" / "x", sha256=artifact.sha256)
    assert "--force" in found.value.hint and list((tmp_path / "home").iterdir()) == []


def test_a_check_names_what_is_damaged_or_missing_there(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path / "x", b"right")
    artifact_of(tmp_path / "wrong", b"wrong")
    kept = replace(artifact, url=store.put(tmp_path / "x", artifact))
    elsewhere = replace(kept, path="runs/r/m/y", sha256="ab" * 32, url=store.url_of("ab" * 32))
    home = tmp_path / "home"
    assert list(damaged_files([kept], home)) == []
    assert list(damaged_files([kept, elsewhere], home)) == [f"{elsewhere.url} is missing"]
    replace(store, rewrites=True).put(tmp_path / "wrong", artifact)
    assert list(damaged_files([kept, kept], home)) == [f"{kept.url} is not as it was written"]
    store.put(tmp_path / "x", artifact)
    assert list(damaged_files([kept], home)) != [], "its size is right, so it was not written again"
    replace(store, rewrites=True).put(tmp_path / "x", artifact)
    assert list(damaged_files([kept], home)) == []


def test_a_store_that_cannot_be_used_is_named_once(tmp_path: Path) -> None:
    gone = ArtifactStore(store_url("ftp://127.0.0.1:1/zoo"))
    artifacts = [
        replace(artifact_of(tmp_path / "home" / name, name.encode()), path=name, url=gone.url_of(2 * name))
        for name in ("a", "b")
    ]
    assert list(damaged_files(artifacts, tmp_path / "home")) == [
        f"The artifacts at {artifacts[0].url} cannot be used: [Errno 111] Connection refused."
    ]


def test_a_file_that_is_nowhere_is_told(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be used") as found:
        bring(store.url_of("ab" * 32), tmp_path / "home" / "x", sha256="ab" * 32)
    assert "credentials" in found.value.hint and not (tmp_path / "home" / "x").exists()


def test_nothing_is_left_in_a_folder_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = artifact_of(tmp_path / "x", b"content")
    store = ArtifactStore(store_url(str(tmp_path / "store")))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.kept.artifacts.shutil.copyfile", full)
    with pytest.raises(ArtifactError, match=r"The disk of the artifacts at .* is full"):
        store.put(tmp_path / "x", artifact)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:topsecret@bucket/zoo",
        "ftp://me:topsecret@host/zoo",
        "ftp://me:top/secret@host/zoo",
        "https://host/zoo?token=topsecret",
        "memory://x#topsecret",
        "simplecache::s3://topsecret",
        "://topsecret",
    ],
)
def test_a_url_that_may_hold_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as found:
        store_url(url)
    shown = f"{found.value.message} {found.value.hint} {found.value.__cause__}"
    assert "topsecret" not in shown and "secret@" not in shown and "environment" in shown


def test_what_has_no_package_here_says_which_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="fsspec knows no nosuch://"):
        store_url("nosuch://x")

    def missing(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    with pytest.raises(SettingsError, match="package is missing") as found:
        store_url("s3://bucket/zoo")
    assert "Install s3fs" in found.value.hint


def test_a_database_cannot_have_files_written_outside_the_home(tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path / "x", b"content")
    url = ArtifactStore(store_url(str(tmp_path / "store"))).put(tmp_path / "x", artifact)
    with pytest.raises(ArtifactError, match="outside the home"):
        artifact_file(replace(artifact, url=url, path="../evil"), tmp_path / "home")
    assert not (tmp_path / "evil").exists()


# A machine that sees the database and the store, and has a home of its own.


@pytest.mark.slow
def test_the_dna_is_loaded_where_only_the_database_and_the_store_are(tmp_path: Path) -> None:
    weights = make_tiny_checkpoint("minilm-l6", tmp_path / "tiny", 0).parent
    home, store = tmp_path / "home", str(tmp_path / "store")

    def mine_here(artifacts: str | None, *, force: bool = False) -> None:
        run = mine([request(weights)], FAST, database=database, home=home, artifacts=artifacts, force=force)
        assert run.exit_code == 0

    with database_of(home) as database:
        mine_here(None)
        pattern = database.load_pattern("tiny")
        assert {each.url for each in pattern.artifacts} == {None}
        with pytest.raises(DnaFileError, match="not in this home"):
            mined_dna(pattern, database, tmp_path / "other")
        mine_here(store)  # What is done is not done again, and is put there all the same.
        pattern = database.load_pattern("tiny")
        assert all(each.url and each.url.startswith(f"file://{store}/sha256/") for each in pattern.artifacts)
        mine_here(None)
        assert database.load_pattern("tiny") == pattern
        dna = mined_dna(pattern, database, tmp_path / "other")
        assert (dna.model, dna.digest) == ("tiny", pattern.model.sha256)
        damaged = next(path for path in Path(store).rglob("*") if path.is_file())
        damaged.write_bytes(b"x" * damaged.stat().st_size)
        assert len(list(damaged_files(database.artifacts(), home))) == 1
        mine_here(store, force=True)
        assert list(damaged_files(database.artifacts(), home)) == []
        shutil.rmtree(store)
        mine_here(store)
        assert all(ArtifactStore(f"file://{store}").holds(each) for each in pattern.artifacts)

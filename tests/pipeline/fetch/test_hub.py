"""Fetching from the Hub: the real client against a loopback server, healthy and broken."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils import validate_repo_id

from dna_zoo.errors import (
    DamagedFileError,
    DiskFullError,
    FetchError,
    GatedModelError,
    IncompleteDownloadError,
    NoWeightsError,
    OfflineError,
    RateLimitError,
    RevisionNotFoundError,
    UnknownModelError,
)
from pipeline.events import Event
from pipeline.fetch import hub as hub_client
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch, plan
from tests.pipeline.fetch.conftest import COMMIT, FILES, REPO, weights
from tests.support.loopback_hub import Fault, LoopbackHub
from zoo.registry import find_card

pytestmark = pytest.mark.slow

REQUEST = ModelRequest(name=REPO)
SECONDS_WITHOUT_RETRIES = 5.0


def assert_clean(tmp_path: Path) -> None:
    """No weights, no half of them and no record of them, wherever a failed fetch could have left some."""
    weights = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    links = [path for path in (tmp_path / "hf").rglob("*.safetensors") if path.is_symlink()]
    assert [*weights, *links, *tmp_path.rglob("*.incomplete"), *(tmp_path / "home").rglob("*.json")] == []


# A healthy hub.


def test_downloads_weights_and_config_and_nothing_else(server: LoopbackHub, home: Path) -> None:
    files = fetch(REQUEST, home=home)
    assert (files.key, files.repo, files.revision, files.origin) == (REPO, REPO, COMMIT, "hub")
    assert files.paths[0].read_bytes() == FILES["model.safetensors"]
    assert files.digest == files.sha256[0] == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert files.config == {"model_type": "bert"} and files.num_bytes == len(FILES["model.safetensors"])
    assert not any("README" in request for request in server.requests)


def test_plan_knows_the_size_before_a_byte_is_downloaded(server: LoopbackHub, home: Path) -> None:
    planned = plan(REQUEST, home=home)
    assert planned.download_bytes == len(FILES["model.safetensors"]) + len(FILES["config.json"])
    assert [file.name for file in planned.missing] == ["model.safetensors", "config.json"]
    assert all(request.startswith("HEAD") for request in server.requests)


def test_progress_ends_at_the_announced_total(server: LoopbackHub, home: Path) -> None:
    events: list[Event] = []
    fetch(REQUEST, home=home, on_event=events.append)
    assert [event.kind for event in events][:1] == ["start"] and events[-1].kind == "done"
    progress = [event for event in events if event.kind == "progress"]
    assert progress[-1].done == progress[-1].total == plan(REQUEST, home=home).num_bytes + len(FILES["config.json"])
    assert "model.safetensors" in events[0].message and "0.0 MB" in events[0].message


def test_second_fetch_sends_no_request(server: LoopbackHub, home: Path) -> None:
    first = fetch(REQUEST, home=home)
    server.requests.clear()
    second = fetch(REQUEST, home=home)
    assert server.requests == []
    assert second.origin == "cache" and second.digest == first.digest and second.revision == COMMIT


def test_card_with_a_pin_and_a_warm_cache_sends_no_request(server: LoopbackHub, home: Path, tmp_path: Path) -> None:
    card = find_card("distilgpt2")
    server.add(card.repo, FILES, card.revision or "")
    assert fetch(ModelRequest(name="distilgpt2"), home=home).card == card
    server.requests.clear()
    files = fetch(ModelRequest(name="distilgpt2"), home=tmp_path / "another-home")
    assert server.requests == [] and files.key == "distilgpt2"


def test_resolved_commit_is_kept_when_the_branch_moves_on(server: LoopbackHub, home: Path) -> None:
    fetch(REQUEST, home=home)
    server.add(REPO, {**FILES, "model.safetensors": weights(1)}, "d" * 40)
    assert fetch(REQUEST, home=home).revision == COMMIT
    assert fetch(ModelRequest(name=REPO, revision="d" * 40), home=home).revision == "d" * 40
    assert fetch(REQUEST, home=home).revision == COMMIT


def test_cache_filled_by_others_is_used_without_a_request(server: LoopbackHub, home: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        huggingface_hub.hf_hub_download(REPO, name, endpoint=server.url, cache_dir=tmp_path / "hf" / "hub")
    server.requests.clear()
    files = fetch(REQUEST, home=home)
    assert server.requests == [] and (files.origin, files.revision) == ("cache", COMMIT)


def test_safetensors_come_before_a_pickle(server: LoopbackHub, home: Path) -> None:
    server.add(REPO, {**FILES, "pytorch_model.bin": b"pickle"})
    assert [path.name for path in fetch(REQUEST, home=home).paths] == ["model.safetensors"]


def test_a_pickle_is_taken_where_there_is_nothing_else(server: LoopbackHub, home: Path) -> None:
    server.add(REPO, {"pytorch_model.bin": b"pickle"})
    files = fetch(REQUEST, home=home)
    assert [path.name for path in files.paths] == ["pytorch_model.bin"] and files.config == {}


@pytest.mark.parametrize("stem", ["model.safetensors", "pytorch_model.bin"])
def test_shards_are_fetched_by_their_index(server: LoopbackHub, home: Path, stem: str) -> None:
    shards = {"b-00002" + Path(stem).suffix: weights(2), "a-00001" + Path(stem).suffix: weights(1)}
    index = {"weight_map": {f"layer.{number}.weight": name for number, name in zip((2, 1), shards, strict=True)}}
    server.add(REPO, {**shards, f"{stem}.index.json": json.dumps(index).encode()})
    files = fetch(REQUEST, home=home)
    assert [path.read_bytes() for path in files.paths] == [shards[name] for name in sorted(shards)]
    assert files.digest == hashlib.sha256("".join(files.sha256).encode()).hexdigest()
    server.requests.clear()
    assert fetch(REQUEST, home=home).digest == files.digest and server.requests == []


def test_a_connection_broken_once_is_taken_up_again(server: LoopbackHub, home: Path) -> None:
    server.fault = Fault.BROKEN_OFF_ONCE
    assert fetch(REQUEST, home=home).paths[0].read_bytes() == FILES["model.safetensors"]


def test_a_server_that_always_starts_over_is_given_up(server: LoopbackHub, tmp_path: Path) -> None:
    # Larger than the client's chunk of 10 MB: each attempt then counts as progress, and it would go on for ever.
    server.add(REPO, {"model.safetensors": bytes(22_000_000)})
    server.fault = Fault.BROKEN_OFF
    with pytest.raises(IncompleteDownloadError, match=r"broke off 'model.safetensors' 3 times"):
        fetch(REQUEST, home=tmp_path / "home")
    assert_clean(tmp_path)


# A hub, a network or a disk in trouble. Nothing half-written may remain, and no row about it.

TROUBLE = [
    (Fault.GATED, GatedModelError, "refuses access", "HF_TOKEN"),
    (Fault.UNAUTHORIZED, GatedModelError, "HTTP 401", "HF_TOKEN"),
    (Fault.FORBIDDEN, GatedModelError, "HTTP 403", "HF_TOKEN"),
    (Fault.RATE_LIMIT, RateLimitError, "too many requests", "3600 seconds"),
    (Fault.RATE_LIMIT_ON_GET, RateLimitError, "HTTP 429", "3600 seconds"),
    (Fault.SERVER_ERROR, FetchError, "HTTP 503", "later"),
    (Fault.BROKEN_OFF, IncompleteDownloadError, "Fewer bytes of 'model.safetensors'", "again"),
    (Fault.SHORT_BODY, IncompleteDownloadError, "Fewer bytes of 'model.safetensors'", "again"),
    (Fault.FLIPPED_BYTE, DamagedFileError, "is damaged", "removed from the cache"),
    (Fault.HUGE, DiskFullError, "1,000,000,000.0 MB", "HF_HOME"),
    (Fault.PLAIN_404, NoWeightsError, "no weights", "model.safetensors"),
    (Fault.NOT_A_HUB, FetchError, "does not answer like", "HF_ENDPOINT"),
]


@pytest.mark.parametrize(("fault", "kind", "message", "hint"), TROUBLE, ids=[case[0] for case in TROUBLE])
def test_trouble_has_its_error_and_leaves_nothing(
    server: LoopbackHub, tmp_path: Path, fault: Fault, kind: type[FetchError], message: str, hint: str
) -> None:
    server.fault = fault
    with pytest.raises(kind) as caught:
        fetch(REQUEST, home=tmp_path / "home")
    assert message in caught.value.message and hint in caught.value.hint
    assert type(caught.value) is kind
    assert_clean(tmp_path)


@pytest.mark.parametrize("fault", [Fault.FLIPPED_BYTE, Fault.SHORT_BODY, Fault.RATE_LIMIT])
def test_fetch_succeeds_once_the_trouble_is_over(server: LoopbackHub, home: Path, fault: Fault) -> None:
    server.fault = fault
    with pytest.raises(FetchError):
        fetch(REQUEST, home=home)
    server.fault = None
    assert fetch(REQUEST, home=home).paths[0].read_bytes() == FILES["model.safetensors"]


def test_unknown_name_lists_near_misses(server: LoopbackHub, home: Path) -> None:
    with pytest.raises(UnknownModelError, match="distilgpt2"):
        fetch(ModelRequest(name="distilgpt"), home=home)
    assert server.requests == []


def test_unknown_repository_lists_near_misses(server: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no repository 'distilbert/distilgpt3'") as caught:
        fetch(ModelRequest(name="distilbert/distilgpt3"), home=tmp_path / "home")
    assert "distilbert/distilgpt2" in caught.value.hint
    with pytest.raises(UnknownModelError) as caught:
        fetch(ModelRequest(name="zz/qqqqqqqqqqqqqq"), home=tmp_path / "home")
    assert "spelling" in caught.value.hint


def test_revision_that_is_gone(server: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError, match="no revision 'aaaa") as caught:
        fetch(ModelRequest(name=REPO, revision="a" * 40), home=tmp_path / "home")
    assert "another commit" in caught.value.hint
    assert_clean(tmp_path)


def test_repository_without_weights(server: LoopbackHub, tmp_path: Path) -> None:
    server.add(REPO, {"config.json": b"{}", "README.md": b"soon"})
    with pytest.raises(NoWeightsError, match="holds no weights") as caught:
        fetch(REQUEST, home=tmp_path / "home")
    assert "pytorch_model.bin" in caught.value.hint


def test_empty_file_on_the_hub(server: LoopbackHub, tmp_path: Path) -> None:
    server.add(REPO, {"model.safetensors": b""})
    with pytest.raises(DamagedFileError, match="empty"):
        fetch(REQUEST, home=tmp_path / "home")
    assert not any(request.startswith("GET") and "resolve" in request for request in server.requests)


def test_pointer_served_in_place_of_the_file(server: LoopbackHub, home: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 90868376\n"
    server.add(REPO, {"model.safetensors": pointer})
    with pytest.raises(DamagedFileError, match="Git LFS pointer"):
        fetch(REQUEST, home=home)


def test_index_that_names_a_missing_shard(server: LoopbackHub, home: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    server.add(REPO, {"model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(DamagedFileError, match="which the repository does not hold"):
        fetch(REQUEST, home=home)


def test_index_that_names_a_tensor_that_no_shard_holds(server: LoopbackHub, home: Path) -> None:
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    shards = {name: weights(number) for number, name in enumerate(names)}
    index = {"weight_map": {"layer.0.weight": names[0], "layer.1.weight": names[1], "layer.2.weight": names[1]}}
    server.add(REPO, {**shards, "model.safetensors.index.json": json.dumps(index).encode()})
    for _ in range(2):  # As it is downloaded, and from the cache.
        with pytest.raises(DamagedFileError, match=r"names the tensor 'layer\.2\.weight', which no shard holds"):
            fetch(REQUEST, home=home)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "a\\b", ""])
def test_index_cannot_point_out_of_its_folder(server: LoopbackHub, home: Path, name: str) -> None:
    server.add(REPO, {"model.safetensors.index.json": json.dumps({"weight_map": {"a": name}}).encode()})
    with pytest.raises(DamagedFileError, match="not an index"):
        fetch(REQUEST, home=home)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_and_not_cached(
    server: LoopbackHub, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    start = time.monotonic()
    with pytest.raises(OfflineError, match="not in the cache") as caught:
        fetch(ModelRequest(name="distilgpt2"), home=home)
    assert "--weights distilgpt2=PATH" in caught.value.hint
    assert server.requests == [] and time.monotonic() - start < SECONDS_WITHOUT_RETRIES


def test_offline_and_cached(server: LoopbackHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = fetch(REQUEST, home=home).digest
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch(REQUEST, home=home).digest == digest


def test_a_server_that_takes_the_question_and_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_client, "SILENCE", 0.3)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # It accepts, since its queue does, and no one reads.
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(OfflineError, match="did not answer") as error:
            fetch(REQUEST, home=tmp_path / "home")
    assert "HF_ENDPOINT" in error.value.hint


def test_network_out_of_reach_fails_at_once(
    server: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(OfflineError, match="cannot be reached") as caught:
        fetch(REQUEST, home=tmp_path / "home")
    assert "--weights" in caught.value.hint and time.monotonic() - start < SECONDS_WITHOUT_RETRIES
    assert_clean(tmp_path)


def test_a_password_in_the_address_of_the_hub_is_not_told(
    server: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(OfflineError) as caught:
        fetch(REQUEST, home=tmp_path / "home")
    assert "hunter2" not in caught.value.message + caught.value.hint and "http://***" in caught.value.message


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_damaged_cache_is_found_and_named(server: LoopbackHub, home: Path, damage: str) -> None:
    blob = fetch(REQUEST, home=home).paths[0].resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content if damage == "flip" else content[:-100])
    with pytest.raises(DamagedFileError, match="is damaged") as caught:
        fetch(REQUEST, home=home)
    assert str(blob) in caught.value.hint
    blob.unlink()
    assert fetch(REQUEST, home=home).paths[0].read_bytes() == FILES["model.safetensors"]


def test_file_kept_in_git_is_held_against_its_blob_name(server: LoopbackHub, home: Path, tmp_path: Path) -> None:
    content = FILES["model.safetensors"]
    repository = tmp_path / "hf" / "hub" / "models--someone--some-model"
    blob = repository / "blobs" / hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    link = repository / "snapshots" / COMMIT / "model.safetensors"
    for folder in (blob.parent, link.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    assert fetch(ModelRequest(name=REPO, revision=COMMIT), home=home, offline=True).origin == "cache"
    blob.write_bytes(content[:-1] + b"!")
    with pytest.raises(DamagedFileError, match="is damaged"):
        fetch(ModelRequest(name=REPO, revision=COMMIT), home=home, offline=True)


def test_recheck_reads_what_the_clock_says_is_unchanged(server: LoopbackHub, home: Path) -> None:
    blob = fetch(REQUEST, home=home).paths[0].resolve()
    before = blob.stat()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetch(REQUEST, home=home).origin == "cache"
    with pytest.raises(DamagedFileError):
        fetch(REQUEST, home=home, recheck=True)


DISK_FULL = """
import resource, sys
from pathlib import Path
from dna_zoo.errors import DiskFullError
from pipeline.fetch.stage import fetch
from pipeline.fetch.request import ModelRequest
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    fetch(ModelRequest(name=sys.argv[1]), home=Path(sys.argv[2]))
except DiskFullError as error:
    print(error, error.hint, error.__cause__)
"""


def test_disk_that_fills_up_on_the_way(server: LoopbackHub, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DISK_FULL, REPO, str(tmp_path / "home")]
    environment = {**os.environ, **server.environment(tmp_path / "hf")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "The disk is full" in done.stdout and "Free some space" in done.stdout
    assert_clean(tmp_path)


FETCH = """
import sys
from pathlib import Path
from pipeline.fetch.stage import fetch
from pipeline.fetch.request import ModelRequest
print(fetch(ModelRequest(name=sys.argv[1]), home=Path(sys.argv[2])).paths[0], "torch" in sys.modules)
"""


def start_fetch(server: LoopbackHub, tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, REPO, str(tmp_path / "home")]
    environment = {**os.environ, **server.environment(tmp_path / "hf")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_download_once(server: LoopbackHub, tmp_path: Path) -> None:
    server.add(REPO, {**FILES, "model.safetensors": weights(rows=50_000)})
    both = [start_fetch(server, tmp_path) for _ in range(2)]
    assert len({process.communicate(timeout=60)[0] for process in both}) == 1
    assert [process.returncode for process in both] == [0, 0]
    downloads = [line for line in server.requests if line.startswith("GET") and line.endswith("model.safetensors")]
    assert len(downloads) == 1


def test_environment_reaches_the_client_of_a_new_process(server: LoopbackHub, tmp_path: Path) -> None:
    path, has_torch = start_fetch(server, tmp_path).communicate(timeout=60)[0].split()
    assert Path(path).is_relative_to(tmp_path / "hf" / "hub") and has_torch == "False"


@pytest.mark.parametrize(
    "name", ["a/b", "A-1/b.c_d", "a", "a/b/c", "a/b--c", "a..b/c", "-a/b", "a/b-", "a/b.git", "a/" + "b" * 96, "é/b"]
)
def test_repo_ids_are_those_that_the_client_accepts(name: str) -> None:
    try:
        validate_repo_id(name)
        accepted = name.count("/") == 1
    except huggingface_hub.errors.HFValidationError:
        accepted = False
    assert hub_client.is_repo_id(name) is accepted


def test_a_disk_that_does_not_tell_its_size_takes_a_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = Path("/proc")
    if not folder.is_dir() or shutil.disk_usage(folder).total:
        pytest.skip("There is no file system without a size here.")
    monkeypatch.setattr(hub_client, "cache_dir", lambda: tmp_path / "cache")
    with pytest.raises(DiskFullError):
        hub_client.require_space(1 << 60)
    monkeypatch.setattr(hub_client, "cache_dir", lambda: folder / "cache")
    hub_client.require_space(1 << 60)  # Raises nothing.

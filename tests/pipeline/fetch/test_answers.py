"""A hub that answers what no hub does: nothing is written out of the cache, and no more is taken than was announced."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from dna_zoo.errors import DamagedFileError, FetchError
from pipeline.fetch import hub as hub_client
from pipeline.fetch import plan as planning
from pipeline.fetch.hub_components import find_hub_components
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch, plan
from pipeline.weights.files import LARGEST_CONFIG
from tests.pipeline.fetch.conftest import COMMIT, FILES, REPO, weights
from tests.support.loopback_hub import BOMB, Fault, LoopbackHub

pytestmark = pytest.mark.slow

REQUEST = ModelRequest(name=REPO)


def written(tmp_path: Path) -> list[Path]:
    """Files with content beside those that the client makes in its cache of its own accord."""
    kept = (path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(path for path in kept if path.name not in ("CACHEDIR.TAG",) and ".locks" not in path.parts)


ASKED: dict[str, Callable[[], object]] = {
    "head": lambda: hub_client.head(REPO, "config.json", None),
    "json": lambda: hub_client.download(REPO, "config.json", COMMIT, lambda num_bytes: None),
    "weights": lambda: hub_client.download(REPO, "model.safetensors", COMMIT, lambda num_bytes: None),
    "not there": lambda: hub_client.download(REPO, "not-there", COMMIT, lambda num_bytes: None),
}


@pytest.mark.parametrize(
    ("fault", "asked"),
    # Of a file that is not there no checksum is told.
    [(Fault.CHECKSUM_LEADS_OUT, each) for each in ASKED if each != "not there"]
    + [(Fault.COMMIT_LEADS_OUT, each) for each in ASKED],
)
def test_names_that_lead_out_of_the_cache_are_refused_and_nothing_is_written(
    fault: Fault, asked: str, server: LoopbackHub, tmp_path: Path
) -> None:
    server.fault = fault
    with pytest.raises(FetchError, match="does not answer like a Hugging Face Hub"):
        ASKED[asked]()
    assert written(tmp_path) == [] and not list(tmp_path.rglob("*escaped*"))


def test_a_list_of_files_at_a_commit_that_leads_out_is_none(server: LoopbackHub, home: Path) -> None:
    server.fault = Fault.COMMIT_LEADS_OUT
    with pytest.raises(FetchError, match="does not answer like a Hugging Face Hub"):
        hub_client.list_files(REPO, None)
    assert find_hub_components(REPO, None, home) == () and not home.exists()


def test_no_more_is_taken_than_was_announced(server: LoopbackHub, home: Path, tmp_path: Path) -> None:
    planned = plan(REQUEST, home=home)
    server.fault = Fault.LONGER_BODY
    with pytest.raises(FetchError, match=f"more bytes than it announced, .* \\({len(weights()):,}\\)"):
        fetch(REQUEST, home=home)
    assert planned.missing and written(tmp_path) == []


def test_what_is_packed_is_read_as_from_the_hub(server: LoopbackHub, home: Path) -> None:
    server.fault = Fault.PACKED
    assert hub_client.list_files(REPO, None) == (COMMIT, tuple(sorted(FILES)))
    assert fetch(REQUEST, home=home).config == {"model_type": "bert"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda: hub_client.list_files(REPO, None),
        lambda: hub_client.download(REPO, "config.json", COMMIT, lambda num_bytes: None, most=1000),
    ],
    ids=["list", "config"],
)
def test_a_kilobyte_that_unpacks_to_half_a_gigabyte_is_not_unpacked(
    ask: Callable[[], object], server: LoopbackHub, tmp_path: Path
) -> None:
    server.fault = Fault.BOMB
    tracemalloc.start()
    try:
        with pytest.raises(FetchError, match="more bytes"):
            ask()
        assert tracemalloc.get_traced_memory()[1] < BOMB / 4
    finally:
        tracemalloc.stop()
    assert written(tmp_path) == []


def test_a_config_that_is_none_by_its_size_is_not_downloaded(server: LoopbackHub, home: Path) -> None:
    server.add(REPO, {**FILES, "config.json": b" " * (LARGEST_CONFIG + 1)}, COMMIT)
    with pytest.raises(DamagedFileError, match="a config has at most"):
        plan(REQUEST, home=home)
    assert not any(request.startswith("GET") for request in server.requests)


def test_an_index_that_is_none_by_its_size_is_not_downloaded(
    server: LoopbackHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "LARGEST_INDEX", 100)
    server.add(REPO, {"model.safetensors.index.json": b'{"weight_map": {}}'.ljust(200)}, COMMIT)
    with pytest.raises(FetchError, match="more bytes"):
        plan(REQUEST, home=home)

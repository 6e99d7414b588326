"""What nothing needs is found, and nothing else; what is deleted is gone, and all the rest still works."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from dna_zoo.errors import StoreError
from patterndb.records import ArtifactRecord
from pipeline.events import Event
from pipeline.kept.locks import nothing_mined
from pipeline.kept.stages import StageStore
from pipeline.runs.prune import delete_artifacts, find_unneeded, prune, remove
from tests.support.mining import STAGES, database_of, endings, mine_into, request
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow

SECONDS = 60
"""More than anything here takes."""


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two models, each of a run of its own."""
    folder = tmp_path_factory.mktemp("mined")
    for seed, key in enumerate(("one", "two")):
        make_tiny_checkpoint("tinybert", folder / key, seed)
        mine_into(folder / "home", [request(folder / key, key)])
    return folder


@pytest.fixture
def home(mined: Path, tmp_path: Path) -> Path:
    shutil.copytree(mined / "home", tmp_path / "home")
    return tmp_path / "home"


def test_of_mined_models_everything_is_needed(home: Path) -> None:
    with database_of(home) as database:
        assert find_unneeded(database, home, days=0) == ()


def test_a_removed_model_frees_its_stages_and_its_run_and_the_other_is_not_mined_again(mined: Path, home: Path) -> None:
    with database_of(home) as database:
        _, freed = remove(database, "one", home)
        found = find_unneeded(database, home)
        assert sorted(each.name.split()[0] for each in found if each.kind == "stage") == sorted(STAGES[1:5])
        assert len([each for each in found if each.kind == "run"]) == 1 and freed > 0
        assert [each.num_bytes for each in found] == sorted((each.num_bytes for each in found), reverse=True)
        assert all(each.path.is_dir() for each in found), "finding deletes nothing"
        assert prune(database, home) == found
        assert not any(each.path.exists() for each in found) and find_unneeded(database, home) == ()
    events: list[Event] = []
    mine_into(home, [request(mined / "two", "two")], on_event=events.append)
    assert set(endings(events).values()) == {"reused"}


def test_work_of_a_killed_run_and_stages_of_other_databases_are_left_alone_for_days(home: Path) -> None:
    store = StageStore(home)
    killed, foreign = store.directory("fit", "aa" * 16), store.directory("order", "bb" * 16)
    for folder in (killed, foreign):
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_bytes(b"x" * 100)
    (foreign / "result.json").write_text("{}")
    (home / "runs" / "of-another-database").mkdir()
    with database_of(home) as database:
        assert find_unneeded(database, home, days=1) == ()
        for path in (*killed.iterdir(), *foreign.iterdir(), killed, foreign):
            os.utime(path, (time.time() - 2 * 86_400,) * 2)
        found = find_unneeded(database, home, days=1)
    assert {each.path: each.num_bytes for each in found} == {foreign: 102, killed: 100}


def test_a_failed_run_keeps_its_stages_for_days(home: Path) -> None:
    with database_of(home) as database:
        run = next(each for each in database.runs() if each.models[0].key == "one")
        database.remove_model("one")
        database.start_run("failed", {})
        database.set_run_models("failed", ["one"])
        for stage in run.models[0].stages:
            database.record_stage("failed", "one", stage)
        database.finish_run("failed", "interrupted", 130)
        assert [each for each in find_unneeded(database, home, days=1) if each.kind == "stage"] == []
        assert len([each for each in find_unneeded(database, home, days=0) if each.kind == "stage"]) == 4


def test_a_file_with_another_name_frees_nothing(home: Path) -> None:
    with database_of(home) as database:
        database.remove_model("one")
        fit = next(each for each in find_unneeded(database, home) if each.name.startswith("fit "))
        os.link(fit.path / "result.json", home / "elsewhere")
        less = next(each for each in find_unneeded(database, home) if each.path == fit.path)
    assert fit.num_bytes - less.num_bytes == (fit.path / "result.json").stat().st_size


def test_nothing_is_deleted_and_removed_while_a_model_is_mined(mined: Path, home: Path) -> None:
    def try_both(event: Event) -> None:
        if event.stage == "fit" and event.kind == "start":
            with database_of(home) as database, pytest.raises(StoreError, match="in this home just now"):
                prune(database, home, days=0)
            with database_of(home) as database, pytest.raises(StoreError, match="in this home just now"):
                remove(database, "one", home)
            with database_of(home) as database:
                remove(database, "two", home)
            tried.append(event)

    tried: list[Event] = []
    mine_into(home, [request(mined / "one", "one")], on_event=try_both)
    with database_of(home) as database:
        assert tried and database.model_keys() == ("one",) and find_unneeded(database, home) != ()


def test_a_model_is_not_begun_while_folders_are_deleted(mined: Path, home: Path) -> None:
    events: list[Event] = []
    mining = threading.Thread(
        target=mine_into, args=(home, [request(mined / "one", "one")]), kwargs={"on_event": events.append}
    )
    with nothing_mined(home):
        mining.start()
        until = time.monotonic() + SECONDS
        while not any(each.stage == "fetch" for each in events) and time.monotonic() < until:
            time.sleep(0.01)
        mining.join(0.5)
        assert mining.is_alive() and {each.stage for each in events} <= {"mine", "fetch"}
    mining.join(SECONDS)
    assert set(endings(events).values()) == {"reused"}


def test_a_path_that_leads_out_of_the_runs_is_never_deleted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "runs" / "r").mkdir(parents=True)
    precious = [tmp_path / "precious", home / "dna-zoo.db"]
    for path in precious:
        path.write_text("x")
    artifacts = [
        ArtifactRecord(kind="summary", path=path, sha256="", num_bytes=1)
        for path in ("../precious", "dna-zoo.db", "runs/../dna-zoo.db", str(tmp_path / "precious"))
    ]
    assert delete_artifacts(artifacts, home) == 0 and all(path.exists() for path in precious)

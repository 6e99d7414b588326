"""`dna-zoo db check --files` names files that are gone or changed; `db backup` and `db copy` on the command line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from patterndb.store import PatternDatabase
from pipeline.kept.artifacts import ArtifactStore, store_url

RUN = CliRunner()


def db(home: Path, *arguments: str) -> tuple[int, str, str]:
    found = RUN.invoke(app, ["db", *arguments, "--home", str(home)])
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture
def home(mined_home: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    copy = tmp_path / "home"
    shutil.copytree(mined_home, copy)
    return copy


def test_files_that_are_gone_or_changed_are_named(home: Path) -> None:
    assert db(home, "check", "--files", "--format", "quiet")[:2] == (0, "")
    gone, changed = sorted((home / "runs").rglob("*.safetensors"))[:2]
    gone.unlink()
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    code, told, _ = db(home, "check", "--files", "--format", "json")
    lines = sorted(json.loads(told)["files"])
    expected = [f"{gone.relative_to(home)} is missing", f"{changed.relative_to(home)} is not as it was written"]
    assert (code, lines) == (1, sorted(expected))
    assert db(home, "check", "--format", "quiet")[0] == 0, "without --files only tables are looked at"


def test_files_at_a_url_are_looked_at_too(home: Path, tmp_path: Path) -> None:
    store = ArtifactStore(store_url(str(tmp_path / "store")))
    with PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}") as database:
        pattern = database.load_pattern("gpt2-a")
        known = tuple(replace(each, url=store.put(home / each.path, each)) for each in pattern.artifacts)
        database.save_pattern(replace(pattern, artifacts=known))
    assert db(home, "check", "--files", "--format", "quiet")[:2] == (0, "")
    Path(str(known[0].url).removeprefix("file://")).unlink()
    code, told, _ = db(home, "check", "--files", "--format", "json")
    assert (code, json.loads(told)["files"]) == (1, [f"{known[0].url} is missing"])
    assert "--artifacts" in db(home, "check", "--files")[2]


def test_a_backup_and_a_copy_have_one_digest(home: Path, tmp_path: Path) -> None:
    code, told, _ = db(home, "backup", str(tmp_path / "backup.db"), "--format", "json")
    backup = json.loads(told)
    assert code == 0 and backup["rows"]["models"] == 3 and backup["new_rows"] == sum(backup["rows"].values())
    urls = [f"sqlite:///{home / 'dna-zoo.db'}", f"sqlite:///{tmp_path / 'copy.db'}"]
    assert db(home, "copy", *urls, "--format", "quiet")[:2] == (0, backup["sha256"] + "\n")
    code, _, said = db(home, "backup", str(tmp_path / "backup.db"))
    assert code == 1 and "there already" in said and len(said.splitlines()) == 2

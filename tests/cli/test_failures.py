"""Exit codes and messages: what happened, what to do, and nothing on stdout."""

import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import app
from patterndb.records import RunRecord
from patterndb.store import PatternDatabase
from tests.cli.conftest import Invoke, Start
from tests.support.patterns import make_pattern, save_patterns

USAGE = [
    ("frob",),
    ("show",),
    ("zoo", "--frob"),
    ("zoo", "--tier", "seven"),
    ("zoo", "--tier", "7"),
    ("show", "alpha", "--format", "xml"),
    ("similar", "alpha", "--top-k", "0"),
    ("export", "catalog.xyz"),
    ("export", "catalog.csv", "--table", "nosuch"),
    ("fetch",),
    ("mine",),
    ("mine", "--all", "--tier", "1"),
    ("mine", "--tier", "9"),
    ("mine", "minilm-l6", "--preset", "nosuch"),
    ("mine", "minilm-l6", "--dna-type", "nosuch"),
    ("mine", "minilm-l6", "--budget", "2"),
    ("mine", "minilm-l6", "--nulls", "-1"),
    ("mine", "minilm-l6", "--seed", "-1"),
    ("mine", "minilm-l6", "--device", "abacus"),
    ("mine", "--weights", "minilm-l6"),
    ("mine", "--local", "somewhere"),
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_a_wrong_command_line_ends_with_2(arguments: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    message, hint = result.stderr.splitlines()
    assert message.endswith((".", "?")) and hint.endswith(".")


@pytest.mark.parametrize(
    "arguments", [("show", "alpah"), ("compare", "alpha", "alpah"), ("similar", "alpah")], ids=" ".join
)
def test_a_model_not_mined_ends_with_1_and_near_misses(arguments: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'alpah'" in result.stderr and "'alpha'" in result.stderr


def test_an_unknown_card_ends_with_1_and_near_misses(invoke: Invoke) -> None:
    result = invoke("zoo", "show", "minilm-16")
    assert result.exit_code == 1
    assert "Did you mean 'minilm-l6'" in result.stderr


ABSENT = [
    (("mine", "./absent"), "There is no file or directory './absent'."),
    (("mine", "--weights", "minilm-l6=/absent"), "There is no file or directory '/absent'."),
    (("tune", "./absent"), "There is no file or directory './absent'."),
    (("mine", "minilm16"), "Did you mean 'minilm-l6'"),
    (("mine", "someone-else"), "Did you mean 'someone/some-else'?"),
    (("fetch", "someone-else"), "Did you mean 'someone/some-else'?"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), ABSENT, ids=lambda value: " ".join(value))
def test_what_can_be_no_model_is_refused_before_anything_is_started(
    arguments: tuple[str, ...], message: str, start: Start, environment: dict[str, str]
) -> None:
    with PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db") as database:
        save_patterns(database, make_pattern("someone/some-else"))
    code = (
        "import sys; from cli.main import app; code = app(standalone_mode=False); print('torch' in sys.modules, code)"
    )
    process = start(*arguments, code=code)
    stdout, stderr = process.communicate(timeout=60)
    assert stdout == "False 1\n" and message in stderr
    assert not (Path(environment["DNA_ZOO_HOME"]) / "runs").exists()


def test_an_unknown_run_ends_with_1(invoke: Invoke) -> None:
    result = invoke("runs", "nosuch")
    assert result.exit_code == 1 and "'nosuch'" in result.stderr and "dna-zoo runs" in result.stderr


def test_a_run_that_is_nearly_there_is_named(invoke: Invoke) -> None:
    assert "Did you mean 'run-partial'?" in invoke("runs", "run-parital").stderr


@pytest.mark.parametrize("url", ["nonsense", "mysql://me@host/zoo", "sqlite:////no/such/folder/zoo.db"])
def test_a_wrong_database_ends_with_1(url: str, invoke: Invoke) -> None:
    result = invoke("--db", url, "runs")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "postgresql://me:topsecret@127.0.0.1:1/zoo"),  # Its hint says what to mine.
        ("models", "rename", "alpha", "jdbc:postgresql://h/zoo;password=topsecret"),  # Its note says the new name.
    ],
)
def test_a_password_in_the_place_of_a_name_is_shown_neither_in_hints_nor_in_notes(
    arguments: tuple[str, ...], start: Start
) -> None:
    said = "".join(start(*arguments).communicate())
    assert "topsecret" not in said and "***" in said and "bug" not in said


def test_a_password_is_never_shown(invoke: Invoke) -> None:
    result = invoke("--db", "postgresql://me:hunter2@127.0.0.1:1/zoo", "--debug", "runs")
    assert result.exit_code == 1
    assert "hunter2" not in result.stderr.splitlines()[-1] + result.stderr.splitlines()[-2]


def test_an_old_schema_names_the_command_that_repairs_it(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE something (id INTEGER)")
    connection.close()
    result = invoke("--db", f"sqlite:///{path}", "runs")
    assert result.exit_code == 1 and "dna-zoo db upgrade" in result.stderr


def test_reading_makes_no_database(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("--home", str(tmp_path / "nowhere"), "runs")
    assert result.exit_code == 1 and "dna-zoo mine" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_changed_database_fails_the_check(invoke: Invoke, environment: dict[str, str]) -> None:
    with sqlite3.connect(Path(environment["DNA_ZOO_HOME"]) / "dna-zoo.db") as connection:
        connection.execute("CREATE TABLE stray (id INTEGER)")
    connection.close()
    result = invoke("db", "check")
    assert result.exit_code == 1 and "stray" in result.stdout


def test_tracebacks_only_with_debug(invoke: Invoke) -> None:
    assert "Traceback" not in invoke("show", "nosuch").stderr
    debugged = invoke("--debug", "show", "nosuch")
    assert debugged.exit_code == 1 and "Traceback" in debugged.stderr and "NotMinedError" in debugged.stderr


def test_a_bug_asks_to_be_reported(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.zoo.select_cards", lambda **conditions: [][0])
    result = invoke("zoo")
    assert result.exit_code == 1
    assert "Unexpected IndexError" in result.stderr and "report" in result.stderr


def test_fetching_some_of_the_models_ends_with_3(invoke: Invoke, tiny_model: Path) -> None:
    result = invoke("fetch", str(tiny_model), "nosuch")
    assert result.exit_code == 3
    assert "tiny-model" in result.stdout and "nosuch" not in result.stdout
    assert "nosuch: Unknown model 'nosuch'." in result.stderr and "tiny-model: verified" in result.stderr


def test_fetching_none_of_the_models_ends_with_1(invoke: Invoke) -> None:
    result = invoke("fetch", "nosuch", "--offline")
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_damaged_file_is_told_without_a_traceback(invoke: Invoke, tiny_model: Path) -> None:
    (tiny_model / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    result = invoke("fetch", str(tiny_model))
    assert result.exit_code == 1 and "Traceback" not in result.stderr


def test_a_dry_run_verifies_nothing(invoke: Invoke, tiny_model: Path) -> None:
    result = invoke("fetch", str(tiny_model), "--dry-run")
    assert result.exit_code == 0 and "verified" not in result.stderr


@pytest.fixture
def silent_hub() -> Iterator[tuple[str, socket.socket]]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        yield f"http://127.0.0.1:{server.getsockname()[1]}", server


@pytest.mark.slow
def test_ctrl_c_ends_with_130(start: Start, silent_hub: tuple[str, socket.socket]) -> None:
    url, server = silent_hub
    process = start("fetch", "someone/some-model", HF_ENDPOINT=url, HF_HUB_DISABLE_TELEMETRY="1")
    connection, _ = server.accept()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    connection.close()
    assert (process.returncode, stdout) == (130, "")
    assert stderr.startswith("Interrupted.") and "Traceback" not in stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGTERM,),
        (signal.SIGHUP,),
        (signal.SIGINT,) * 5,
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    ],
    ids=["terminated", "terminal closed", "a storm of Ctrl-C", "all of them"],
)
def test_a_run_that_is_ended_from_outside_is_interrupted_not_running(
    signals: tuple[signal.Signals, ...], start: Start, tiny_model: Path, environment: dict[str, str]
) -> None:
    process = start("mine", str(tiny_model), "--epochs", "9999999", "--nulls", "0")
    with PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db") as database:

        def run() -> RunRecord | None:
            return next(
                (run for run in database.runs() if tiny_model.name in {model.key for model in run.models}), None
            )

        while process.poll() is None and not ((known := run()) and len(known.models[0].stages) >= 3):
            time.sleep(0.1)
        time.sleep(1.0)  # What torch still imports, a signal may break off within C++.
        for each in signals:
            process.send_signal(each)
        _, stderr = process.communicate(timeout=120)
        found = run()
    assert process.returncode == 130 and "Interrupted." in stderr
    assert found is not None and (found.status, found.exit_code) == ("interrupted", 130)


def test_a_closed_pipe_is_no_bug(start: Start) -> None:
    process = start("zoo", "--format", "json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Unexpected" not in process.stderr.read()


@pytest.mark.slow
def test_codes_come_out_of_a_real_process(start: Start) -> None:
    process = start("show", "nosuch")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "") and "nosuch" in stderr


def test_application_returns_its_code_to_callers_in_python(environment: dict[str, str]) -> None:
    assert app(["--home", environment["DNA_ZOO_HOME"], "show", "nosuch"], standalone_mode=False) == 1

"""`runs` and `rerun`: lists that are narrowed, a run that is followed, two that are compared, one that is repeated."""

import datetime as dt
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from cli.session import Session
from cli.since import moment_of
from cli.watching import summary, watch
from dna_zoo.errors import SettingsError
from patterndb.records import Activity, Invocation, RunModelRecord, RunRecord, StageRecord
from patterndb.runs.processes import this_process
from patterndb.store import PatternDatabase
from tests.cli.conftest import PARTIAL, Invoke, Start

FAST = ("--epochs", "2", "--nulls", "2", "--device", "cpu")
NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)


def open_database(environment: dict[str, str]) -> PatternDatabase:
    return PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db")


# Lists.


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), [PARTIAL, "run-1"]),
        (("--limit", "1"), [PARTIAL]),
        (("--status", "done"), ["run-1"]),
        (("--status", "partial", "--status", "lost"), [PARTIAL]),
        (("--since", "7d"), [PARTIAL, "run-1"]),
        (("--since", "2120-01-01"), []),
    ],
)
def test_the_list_is_narrowed(invoke: Invoke, arguments: tuple[str, ...], found: list[str]) -> None:
    assert invoke("runs", *arguments, "--format", "quiet").stdout.split() == found


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("30m", dt.datetime(2026, 11, 28, 11, 30, tzinfo=dt.UTC)),
        ("12h", dt.datetime(2026, 11, 28, tzinfo=dt.UTC)),
        ("7d", dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)),
        ("2w", dt.datetime(2026, 11, 14, 12, tzinfo=dt.UTC)),
        ("2026-11-01", dt.datetime(2026, 11, 1, tzinfo=dt.UTC)),
        ("2026-11-01T10:00+02:00", dt.datetime(2026, 11, 1, 8, tzinfo=dt.UTC)),
    ],
)
def test_a_time_is_a_span_or_a_date(text: str, time: dt.datetime) -> None:
    assert moment_of(text, NOW) == time


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "7", "d", "-7d", "999999w", "2026-13-01", "9999-12-31T23:00-12:00", "0001-01-01T00:00+14:00"],
)
def test_any_other_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--since"):
        moment_of(text, NOW)


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "--watch"),
        ("runs", "run-1", "--limit", "1"),
        ("runs", "run-1", "--diff", "run-1", PARTIAL),
        ("runs", "--status", "asleep"),
        ("runs", "--since", "soon"),
        ("runs", "--diff", "run-1", PARTIAL, "--tolerance", "nan"),
        ("runs", "--diff", "run-1", PARTIAL, "--tolerance", "inf"),
        ("models", "prune", "--days", "nan"),
        ("models", "prune", "--days", "1e300"),
        ("models", "--columns", ","),
        ("export", "catalog.tex", "--width", "nan"),
        ("combine", "alpha", "beta", "--weights", "nan"),
    ],
)
def test_options_that_do_not_go_together_are_refused(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "") and len(result.stderr.splitlines()) == 2


def test_one_run_says_who_called_it_and_what_ended_it(invoke: Invoke, environment: dict[str, str]) -> None:
    about = Invocation(
        host="[red]big", user="nightly", pid=12, command="dna-zoo mine --all", versions={"torch": "2.13"}
    )
    with open_database(environment) as database:
        database.start_run("r", {}, request_key="key", invocation=about)
        database.finish_run("r", "interrupted", 130, seconds=3.0, stopped_by="SIGTERM")
    text = invoke("runs", "r").stdout
    for words in ("on [red]big as nightly", "dna-zoo mine --all", "torch 2.13", "Stopped by SIGTERM", "took 3.0 s"):
        assert words in text


def test_names_of_a_strangers_runs_and_stages_are_no_markup(invoke: Invoke, environment: dict[str, str]) -> None:
    with PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db") as database:
        database.start_run("[/x]", {}, request_key="[bold]k")
        database.set_run_models("[/x]", ["alpha"])
        stage = StageRecord(stage="[/y]", key="[/z]", status="done", seconds=1.0)
        database.finish_model("[/x]", RunModelRecord(key="alpha", status="done", stages=(stage,)))
        database.finish_run("[/x]", "done", 0)
    assert "[/x]" in invoke("runs").stdout
    told = invoke("runs", "[/x]").stdout
    assert all(name in told for name in ("[/x]", "[/y]", "[/z]", "[bold]k"))


def test_a_run_that_was_interrupted_after_hours_keeps_to_80_columns(
    invoke: Invoke, environment: dict[str, str]
) -> None:
    with open_database(environment) as database:
        database.start_run("20261130-034938-9e6432", {})
        database.finish_run("20261130-034938-9e6432", "interrupted", 130, seconds=13 * 3600.0)
    lines = invoke("runs", COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80 and all(each in lines[2] for each in ("9e6432  interrupted", "13 h 00 min"))


def test_a_run_whose_process_is_gone_is_shown_as_lost(ask: Callable[..., Any], environment: dict[str, str]) -> None:
    gone = Invocation(machine=this_process().machine, pid=2**22 + 1, process_start="1")
    with open_database(environment) as database:
        database.start_run("r", {}, invocation=gone)
    assert [run["status"] for run in ask("runs", "--limit", "1")] == ["lost"]


# The command that is kept.


@pytest.mark.parametrize(
    "arguments",
    [
        ("mine", "x", "--db", "postgresql://me:hunter2@h/d"),
        ("--db=postgresql://me:hu/hunter2@h/d", "mine", "x"),
        ("mine", "x", "--db", "postgresql://h/d?pwd=hunter2"),
        ("mine", "x", "--artifacts", "s3://me:hunter2@bucket/path"),
    ],
)
def test_a_kept_command_has_no_password(arguments: tuple[str, ...]) -> None:
    line = Session(arguments=arguments).command_line
    assert line.startswith("dna-zoo ") and "hunter2" not in line and " x" in line


@pytest.mark.slow
def test_mine_keeps_its_command_and_show_says_how_to_repeat_it(
    invoke: Invoke, ask: Callable[..., Any], tiny_model: Path
) -> None:
    assert invoke("mine", str(tiny_model), *FAST).exit_code == 0
    (run,) = ask("runs", "--limit", "1")
    assert run["command"] == f"dna-zoo mine {tiny_model} --epochs 2 --nulls 2 --device cpu"
    repeat = ask("show", "tiny-model")["repeat"]
    assert repeat == {"command": run["command"], "rerun": f"dna-zoo rerun {run['run']}"}
    assert f"dna-zoo rerun {run['run']}" in " ".join(invoke("show", "tiny-model").stdout.split())


# The end of many.


@pytest.mark.slow
def test_the_end_of_many_counts_them_and_lists_the_failures(invoke: Invoke, tiny_model: Path) -> None:
    invoke("mine", str(tiny_model), *FAST)
    result = invoke("mine", str(tiny_model), "--local", str(tiny_model), "--name", "twin", "nosuch", *FAST)
    assert result.exit_code == 3
    lines = result.stderr.splitlines()
    assert lines[lines.index("0 done, 1 failed, 2 reused") + 1] == "nosuch: Unknown model 'nosuch'."


def test_done_is_always_counted() -> None:
    models = [("a", "done", False), ("b", "done", True), ("c", "failed", False), ("d", "pending", False)]
    records = tuple(
        RunModelRecord(
            key=key, status=status, stages=(StageRecord(stage="fit", key="k", status="done", is_reused=reused),)
        )
        for key, status, reused in models
    )
    run = RunRecord(run="r", status="partial", request={}, started=NOW, finished=NOW, exit_code=3, models=records)
    assert summary(run) == "1 done, 1 failed, 1 reused, 1 pending"


# Two runs.


def test_two_runs_with_the_same_pattern_differ_in_their_models(ask: Callable[..., Any]) -> None:
    document = ask("runs", "--diff", "run-1", PARTIAL)
    assert document["compared"] == [{"a": "alpha", "b": "alpha"}] and document["differences"] == []
    assert document["only_b"] == ["nosuch"] and not document["equal"]


@pytest.mark.slow
def test_runs_with_other_settings_differ_in_them_and_in_what_they_found(
    invoke: Invoke, ask: Callable[..., Any], tiny_model: Path
) -> None:
    for seed in "12":
        invoke("mine", str(tiny_model), *FAST, "--seed", seed)
    second, first = (run["run"] for run in ask("runs", "--limit", "2"))
    found = ask("runs", "--diff", first, second)["differences"]
    assert [(each["name"], each["a"], each["b"]) for each in found if each["kind"] == "setting"] == [("seed", 1, 2)]
    assert {each["kind"] for each in found} >= {"setting", "fit"}
    text = invoke("runs", "--diff", first, second).stdout
    assert re.search(r"^tiny-model +setting +seed +1 +2$", text, flags=re.MULTILINE)


@pytest.mark.slow
def test_a_run_is_repeated_with_0_until_the_weights_change(
    invoke: Invoke, ask: Callable[..., Any], tiny_model: Path
) -> None:
    invoke("mine", str(tiny_model), *FAST)
    (run,) = ask("runs", "--limit", "1")
    result = invoke("rerun", run["run"])
    assert result.exit_code == 0 and "nothing differs" in result.stdout
    path = tiny_model / "model.safetensors"
    save_file({name: 2 * values**3 for name, values in load_file(path).items()}, path)
    result = invoke("rerun", run["run"], "--format", "json")
    assert result.exit_code == 1
    assert "weights" in {each["kind"] for each in json.loads(result.stdout)["differences"]}


@pytest.mark.slow
def test_runs_without_a_model_in_common_are_not_said_to_be_alike(invoke: Invoke, tiny_model: Path) -> None:
    invoke("mine", str(tiny_model), *FAST)
    newest = invoke("runs", "--limit", "1", "--format", "quiet").stdout.strip()
    text = invoke("runs", "--diff", "run-1", newest).stdout
    assert "nothing was compared" in text and "differs" not in text


# A run that is followed.


def follow(database: PatternDatabase, capsys: pytest.CaptureFixture[str], *steps: Callable[[], object]) -> list[str]:
    """The lines of a watch during which these things happen, one a look."""
    ahead = iter(steps)

    class Looked(PatternDatabase):
        def stage_times(self, keys: Any) -> Any:
            times = database.stage_times(keys)
            next(ahead, lambda: None)()
            return times

    with Looked(f"sqlite:///{database.path}") as looked:
        watch(looked, "r", pause=0)
    return capsys.readouterr().out.splitlines()


def test_a_watch_tells_stage_by_stage_and_ends_with_the_run(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    at_work = Activity(model="a", stage="analyse", done=1, total=4, unit="tensors", seconds=2.0)
    with open_database(environment) as database:
        for stage in ("fetch", "extract", "order", "fit", "persist"):
            database.record_stage(
                PARTIAL, "alpha", StageRecord(stage=stage, key="k", status="done", seconds=1.0, is_reused=False)
            )
        database.start_run("r", {}, invocation=this_process())
        database.set_run_models("r", ["a", "b"])
        lines = follow(
            database,
            capsys,
            lambda: database.record_stage(
                "r", "a", StageRecord(stage="fit", key="k", status="done", seconds=12.0, is_reused=False)
            ),
            lambda: database.beat("r", [at_work]),
            lambda: database.finish_model("r", RunModelRecord(key="b", status="failed", error="It \x1b[31mbroke.")),
            lambda: database.finish_model("r", RunModelRecord(key="a", status="done")),
            lambda: database.finish_run("r", "partial", 3),
        )
    assert lines[0] == "a: fit done in 12 s"
    assert lines[1].startswith("a: analyse at work, 25% of 4 tensors")
    assert [line for line in lines[2:] if "at work" not in line] == [
        "b: failed: It \\x1b[31mbroke.",
        "a: done",
        "r partial: 1 done, 1 failed",
    ]


@pytest.mark.slow
def test_a_live_run_is_followed_from_another_process_until_it_is_stopped(
    start: Start, tiny_model: Path, environment: dict[str, str]
) -> None:
    mining = start("mine", str(tiny_model), "--epochs", "9999999", "--nulls", "0")
    with open_database(environment) as database:
        while not (
            found := [run for run in database.runs(statuses=["running"]) if run.at_work and run.models[0].stages]
        ):
            assert mining.poll() is None
            time.sleep(0.1)
        watching = start("runs", found[0].run, "--watch")
        time.sleep(3.0)
        assert watching.poll() is None
        mining.send_signal(signal.SIGTERM)
        mining.communicate(timeout=60)
        stdout, stderr = watching.communicate(timeout=60)
    assert (watching.returncode, stderr) == (130, "")
    assert "tiny-model: order done" in stdout and "interrupted: 0 done, 1 pending" in stdout.splitlines()[-1]
    with open_database(environment) as database:
        assert database.run(found[0].run).stopped_by == "SIGTERM"


def test_a_watch_of_a_run_that_is_lost_ends_with_1(invoke: Invoke, environment: dict[str, str]) -> None:
    gone = Invocation(machine=this_process().machine, pid=2**22 + 1, process_start="1")
    with open_database(environment) as database:
        database.start_run("r", {}, invocation=gone)
    result = invoke("runs", "r", "--watch")
    assert result.exit_code == 1 and result.stdout == "r lost: 0 done\n"


def test_a_watch_of_a_run_that_has_ended_tells_it_once(invoke: Invoke, ask: Callable[..., Any]) -> None:
    result = invoke("runs", PARTIAL, "--watch")
    assert result.exit_code == 3 and result.stdout.splitlines()[-1] == f"{PARTIAL} partial: 1 done, 1 failed"
    quiet = invoke("runs", PARTIAL, "--watch", "--format", "json")
    assert json.loads(quiet.stdout)["run"] == PARTIAL

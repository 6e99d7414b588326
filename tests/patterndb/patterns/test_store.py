"""The contract of the pattern database, the same on SQLite and on PostgreSQL."""

import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from dna_zoo.errors import NotMinedError, StoreError
from patterndb.patterns.writing import SAVE_STEPS
from patterndb.records import PatternRecord, RoleRecord, RunModelRecord, SignatureRecord, StageRecord, Statistic
from patterndb.store import PatternDatabase
from tests.support.patterns import make_fit, make_pattern, save_patterns

ROOT = Path(__file__).parents[3]


@contextmanager
def counting_queries(database: PatternDatabase) -> Iterator[list[str]]:
    """The statements sent meanwhile."""
    statements: list[str] = []

    def record(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(database._engine, "before_cursor_execute", record)
    yield statements
    event.remove(database._engine, "before_cursor_execute", record)


class TestPatterns:
    def test_a_pattern_comes_back_as_it_was_saved(self, database: PatternDatabase) -> None:
        pattern = make_pattern(num_blocks=3)
        save_patterns(database, pattern)
        assert database.load_pattern("alpha") == pattern

    def test_a_pattern_can_be_loaded_without_its_tensors(self, database: PatternDatabase) -> None:
        pattern = make_pattern(num_blocks=3)
        save_patterns(database, pattern)
        assert database.load_pattern("alpha", with_tensors=False) == replace(pattern, tensors=())

    def test_a_bare_pattern_comes_back_too(self, database: PatternDatabase) -> None:
        pattern = replace(
            make_pattern(), fit=None, roles=(), tensors=(), statistics=(), clusters={}, frequency_profile={},
            artifacts=(), class_scores={}, signature=SignatureRecord(version="1", names=(), values=()),
        )  # fmt: skip
        save_patterns(database, pattern)
        assert database.load_pattern("alpha") == pattern

    def test_floats_come_back_bit_for_bit(self, database: PatternDatabase) -> None:
        values = [0.1 + 0.2, 5e-324, -1.7976931348623157e308, math.inf, -math.inf, math.nan, -0.0, 1 / 3, 2.0**60]
        statistics = tuple(Statistic(name=str(i), value=value, z=value) for i, value in enumerate(values))
        save_patterns(database, make_pattern(statistics=statistics))
        loaded = database.load_pattern("alpha").statistics
        assert np.array(values).tobytes() == np.array([each.value for each in loaded]).tobytes()
        assert np.array(values).tobytes() == np.array([each.z for each in loaded]).tobytes()

    def test_none_is_not_nan(self, database: PatternDatabase) -> None:
        statistics = (Statistic(name="x", value=1.0), Statistic(name="y", value=1.0, z=math.nan, null_std=math.inf))
        save_patterns(database, make_pattern(statistics=statistics))
        bare, special = database.load_pattern("alpha").statistics
        assert (bare.z, bare.null_std) == (None, None)
        assert math.isnan(special.z or 0) and special.null_std == math.inf and special.p is None

    def test_special_floats_of_fits_scores_profiles_and_signatures_survive(self, database: PatternDatabase) -> None:
        fit = replace(make_fit(np.random.default_rng(0)), r2=-math.inf, psnr=math.inf, gain=-math.inf, smape=-0.0)
        signature = SignatureRecord(
            version="1", names=("a", "b", "c"), values=(math.inf, None, -0.0), z=(1.5, None, None)
        )
        pattern = make_pattern(
            fit=fit, class_scores={"noisy": math.inf, "dense": -0.0}, class_margin=math.inf, signature=signature,
            frequency_profile={"ffn_in": (math.inf, -math.inf, 1e-300)},
        )  # fmt: skip
        save_patterns(database, pattern)
        assert repr(database.load_pattern("alpha")) == repr(pattern)

    def test_saving_again_leaves_one_pattern(self, database: PatternDatabase) -> None:
        pattern = make_pattern()
        save_patterns(database, pattern)
        database.save_pattern(pattern)
        assert len(database.patterns()) == 1
        assert database.load_pattern("alpha") == pattern

    def test_the_same_key_with_other_findings_replaces(self, database: PatternDatabase) -> None:
        pattern = make_pattern(num_blocks=3)
        save_patterns(database, pattern)
        smaller = replace(pattern, tensors=pattern.tensors[:2], roles=pattern.roles[:1], fit=None)
        database.save_pattern(smaller)
        assert database.load_pattern("alpha") == smaller

    def test_the_pattern_saved_last_is_current(self, database: PatternDatabase) -> None:
        old, new = make_pattern(seed=1), make_pattern(seed=2)
        save_patterns(database, old, new)
        assert database.load_pattern("alpha") == new
        assert [(each.pattern_key, each.is_current) for each in database.patterns()] == [
            (new.pattern_key, True),
            (old.pattern_key, False),
        ]

    def test_a_run_that_ends_with_an_old_pattern_makes_it_current(self, database: PatternDatabase) -> None:
        old, new = make_pattern(seed=1), make_pattern(seed=2)
        save_patterns(database, old, new)
        database.start_run("again", {})
        database.finish_model("again", RunModelRecord(key="alpha", status="done", pattern_key=old.pattern_key))
        assert database.load_pattern("alpha") == old
        assert database.load_pattern("alpha", run="again") == old

    def test_the_current_key_is_known_without_loading_the_pattern(self, database: PatternDatabase) -> None:
        old, new = make_pattern(seed=1), make_pattern(seed=2)
        save_patterns(database, old, new)
        with counting_queries(database) as statements:
            assert database.current_key("alpha") == (new.pattern_key, new.artifacts)
        assert not any("metrics" in statement for statement in statements)
        assert database.current_key("nosuch") is None

    def test_the_pattern_of_a_run_can_be_asked_for(self, database: PatternDatabase) -> None:
        first, second = make_pattern(seed=1, run="one"), make_pattern(seed=2, run="two")
        save_patterns(database, first, second)
        assert database.load_pattern("alpha", run="one") == first
        with pytest.raises(NotMinedError, match="run 'three'"):
            database.load_pattern("alpha", run="three")

    def test_a_changed_card_leaves_older_patterns_alone(self, database: PatternDatabase) -> None:
        old = make_pattern(seed=1, run="one")
        new = make_pattern(seed=2, run="two", model=replace(old.model, licence="MIT"))
        save_patterns(database, old, new)
        assert database.load_pattern("alpha", run="one").model.licence == "Apache-2.0"
        assert database.load_pattern("alpha").model.licence == "MIT"

    def test_an_unknown_key_is_answered_with_near_misses(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("minilm-l6"))
        with pytest.raises(NotMinedError, match="no pattern of 'minilm'") as caught:
            database.load_pattern("minilm")
        assert "Did you mean 'minilm-l6'?" in caught.value.hint

    def test_a_pattern_of_no_run_is_refused(self, database: PatternDatabase) -> None:
        with pytest.raises(StoreError, match="never started"):
            database.save_pattern(make_pattern())

    @pytest.mark.parametrize("changes", [{"settings": {"x": math.nan}}, {"provenance": {"x": {1, 2}}}])
    def test_what_is_no_json_is_refused_whole(self, database: PatternDatabase, changes: dict[str, object]) -> None:
        database.start_run("run-1", {})
        with pytest.raises(StoreError, match="kept"):
            database.save_pattern(make_pattern(**changes))
        assert database.patterns() == ()

    def test_a_signature_shorter_than_its_names_is_refused(self, database: PatternDatabase) -> None:
        database.start_run("run-1", {})
        signature = SignatureRecord(version="1", names=("a", "b"), values=(1.0,))
        with pytest.raises(StoreError, match="`values` of a signature must have length 2"):
            database.save_pattern(make_pattern(signature=signature))

    def test_a_failure_in_the_middle_leaves_nothing(self, database: PatternDatabase) -> None:
        database.start_run("run-1", {})
        roles = (RoleRecord(role="ffn_in", tensors=1, weights=1),) * 2
        with pytest.raises(StoreError, match="cannot be kept"):
            database.save_pattern(make_pattern(roles=roles))
        assert database.patterns() == ()

    def test_steps_are_reported_in_order(self, database: PatternDatabase) -> None:
        database.start_run("run-1", {})
        steps: list[str] = []
        database.save_pattern(make_pattern(), on_step=steps.append)
        assert tuple(steps) == SAVE_STEPS

    @pytest.mark.slow
    @pytest.mark.parametrize("step", [SAVE_STEPS[0], "metrics", SAVE_STEPS[-1]])
    def test_a_process_killed_while_saving_leaves_nothing(
        self, database_url: str, database: PatternDatabase, step: str
    ) -> None:
        database.start_run("run-1", {})
        script = (
            "import os, signal, sys\n"
            "from patterndb.store import PatternDatabase\n"
            "from tests.support.patterns import make_pattern\n"
            "die = lambda step: step == sys.argv[2] and os.kill(os.getpid(), signal.SIGKILL)\n"
            "PatternDatabase.open(sys.argv[1]).save_pattern(make_pattern(), on_step=die)\n"
        )
        killed = subprocess.run([sys.executable, "-c", script, database_url, step], cwd=ROOT, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        assert database.patterns() == ()
        save_patterns(database, make_pattern())
        assert database.load_pattern("alpha") == make_pattern()

    def test_loading_takes_the_same_queries_for_large_and_small(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("small", num_blocks=1), make_pattern("large", num_blocks=12))
        with counting_queries(database) as small:
            database.load_pattern("small")
        with counting_queries(database) as large:
            database.load_pattern("large")
        assert len(small) == len(large) <= 9

    def test_saving_takes_the_same_statements_for_large_and_small(self, database: PatternDatabase) -> None:
        database.start_run("run-1", {})
        with counting_queries(database) as small:
            database.save_pattern(make_pattern("small", num_blocks=1))
        with counting_queries(database) as large:
            database.save_pattern(make_pattern("large", num_blocks=12))
        # Half of them for the digests of what was written.
        assert len(small) == len(large) <= 34

    @pytest.mark.parametrize("method", ["patterns", "signatures", "tensors", "runs"])
    def test_lists_take_the_same_queries_however_long(self, database: PatternDatabase, method: str) -> None:
        ask: Callable[[], object] = getattr(database, method)
        save_patterns(database, make_pattern("a"))
        with counting_queries(database) as short:
            ask()
        save_patterns(database, *(make_pattern(key, run=key) for key in "bcde"))
        with counting_queries(database) as long:
            ask()
        # Three of them look whether the file has lost rows.
        assert len(short) == len(long) <= 9

    def test_signatures_are_those_of_current_patterns(self, database: PatternDatabase) -> None:
        patterns = [make_pattern("b"), make_pattern("a", seed=1), make_pattern("a", seed=2)]
        save_patterns(database, *patterns)
        entries = database.signatures()
        assert [entry.model for entry in entries] == [patterns[2].model, patterns[0].model]
        assert [entry.signature for entry in entries] == [patterns[2].signature, patterns[0].signature]
        bare = [replace(entry, signature=replace(entry.signature, z=(), p=())) for entry in entries]
        assert list(database.signatures(with_nulls=False)) == bare

    def test_summaries_say_what_the_patterns_say(self, database: PatternDatabase) -> None:
        pattern = make_pattern()
        save_patterns(database, pattern)
        (summary,) = database.patterns()
        assert (summary.model, summary.fit, summary.run) == (pattern.model, pattern.fit, "run-1")
        assert (summary.class_scores, summary.class_margin) == (pattern.class_scores, pattern.class_margin)

    def test_tensors_are_those_of_current_patterns(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("b"), make_pattern("a", seed=1), make_pattern("a", seed=2))
        entries = database.tensors()
        assert [entry.tensor for entry in entries if entry.model == "a"] == list(make_pattern("a", seed=2).tensors)
        assert len(entries) == 2 * len(make_pattern().tensors)

    def test_model_statistics_are_those_of_current_patterns(self, database: PatternDatabase) -> None:
        patterns = [make_pattern("b"), make_pattern("a", seed=1), make_pattern("a", seed=2)]
        save_patterns(database, *patterns)
        expected = {pattern.pattern_key: pattern.statistics for pattern in (patterns[0], patterns[2])}
        assert database.model_statistics() == expected


class TestRuns:
    def test_a_run_tells_how_each_model_fared(self, database: PatternDatabase) -> None:
        pattern = make_pattern()
        database.start_run("r", {"names": ["alpha", "beta"], "preset": "quick"})
        database.set_run_models("r", ["alpha", "beta", "gamma"])
        stages = (
            StageRecord(stage="fetch", key="f", status="done", seconds=1.5),
            StageRecord(stage="fit", key="g", status="failed", error="diverged"),
        )
        for stage in stages:
            database.record_stage("r", "beta", stage)
        database.save_pattern(replace(pattern, run="r"))
        done = RunModelRecord(key="alpha", status="done", pattern_key=pattern.pattern_key)
        failed = RunModelRecord(key="beta", status="failed", error="It diverged.", hint="Lower it.", stages=stages)
        database.finish_model("r", done)
        database.finish_model("r", failed)
        database.finish_run("r", "partial", 3)
        run = database.run("r")
        assert run.models == (done, failed, RunModelRecord(key="gamma", status="pending"))
        assert (run.status, run.exit_code, run.request["preset"]) == ("partial", 3, "quick")

    def test_times_are_aware_and_in_order(self, database: PatternDatabase) -> None:
        database.start_run("r", {})
        assert database.run("r").finished is None
        database.finish_run("r", "done", 0)
        run = database.run("r")
        assert run.finished is not None and run.started.utcoffset() == run.finished - run.finished
        assert run.started <= run.finished

    def test_starting_again_continues(self, database: PatternDatabase) -> None:
        database.start_run("r", {"a": 1})
        database.set_run_models("r", ["alpha"])
        database.record_stage("r", "alpha", StageRecord(stage="fetch", key="f", status="done"))
        database.finish_run("r", "interrupted", 130)
        before = database.run("r")
        database.start_run("r", {"a": 2})
        after = database.run("r")
        assert (after.status, after.finished, after.exit_code) == ("running", None, None)
        assert (after.started, after.models, after.request) == (before.started, before.models, {"a": 2})

    def test_repeating_a_record_changes_nothing(self, database: PatternDatabase) -> None:
        database.start_run("r", {})
        stage = StageRecord(stage="fetch", key="f", status="done", seconds=0.1)
        for _ in range(2):
            database.set_run_models("r", ["alpha", "alpha"])
            database.record_stage("r", "alpha", stage)
            database.finish_model("r", RunModelRecord(key="alpha", status="done"))
        assert database.run("r").models == (RunModelRecord(key="alpha", status="done", stages=(stage,)),)

    def test_a_second_attempt_clears_the_error(self, database: PatternDatabase) -> None:
        database.start_run("r", {})
        database.finish_model("r", RunModelRecord(key="alpha", status="failed", error="Oh.", hint="So."))
        database.finish_model("r", RunModelRecord(key="alpha", status="done"))
        assert database.run("r").models == (RunModelRecord(key="alpha", status="done"),)

    def test_models_keep_the_order_they_were_given_in(self, database: PatternDatabase) -> None:
        database.start_run("r", {})
        database.record_stage("r", "late", StageRecord(stage="fetch", key="f", status="done"))
        database.set_run_models("r", ["first", "late"])
        assert [model.key for model in database.run("r").models] == ["first", "late"]

    def test_runs_come_latest_first(self, database: PatternDatabase) -> None:
        database.start_run("one", {})
        database.start_run("two", {})
        assert [run.run for run in database.runs()] == ["two", "one"]

    def test_an_unknown_run_is_an_error(self, database: PatternDatabase) -> None:
        for ask in (database.run, lambda run: database.finish_run(run, "done", 0)):
            with pytest.raises(NotMinedError, match="There is no run 'nosuch'"):
                ask("nosuch")

    def test_a_model_cannot_end_with_a_pattern_never_saved(self, database: PatternDatabase) -> None:
        database.start_run("r", {})
        with pytest.raises(StoreError, match="Pattern 'nosuch' is not in this database"):
            database.finish_model("r", RunModelRecord(key="alpha", status="done", pattern_key="nosuch"))

    def test_an_unknown_status_is_an_error(self, database: PatternDatabase) -> None:
        database.start_run("r", {})
        with pytest.raises(StoreError, match="ck_runs_status"):
            database.finish_run("r", "finished", 0)


class TestQuestions:
    PATTERNS: tuple[PatternRecord, ...] = tuple(make_pattern(key) for key in ("alpha", "beta", "delta", "gamma"))

    @pytest.fixture(autouse=True)
    def four_patterns(self, database: PatternDatabase) -> None:
        save_patterns(database, *self.PATTERNS)

    def test_similar_agrees_with_compare_to_the_last_bit(self, database: PatternDatabase) -> None:
        neighbours = database.get_similar_models("beta")
        assert sorted(each.model for each in neighbours) == ["alpha", "delta", "gamma"]
        for each in neighbours:
            comparison = database.compare_patterns("beta", each.model)
            assert (comparison.kind, comparison.kind_percentile) == (each.kind, each.kind_percentile)

    def test_similar_ranks_models_of_other_layouts_too(self, database: PatternDatabase) -> None:
        signature = make_pattern("beta").signature
        names = (*signature.names[::-1], "model/added")
        turned = replace(signature, names=names, values=(*signature.values[::-1], 1.0), z=(), p=())
        save_patterns(database, make_pattern("zeta", signature=turned))
        neighbours = database.get_similar_models("zeta")
        assert (neighbours[0].model, neighbours[0].kind, len(neighbours)) == ("beta", 0.0, 4)
        for each in neighbours:
            assert database.compare_patterns(each.model, "zeta").kind == each.kind

    def test_similar_puts_a_copy_first(self, database: PatternDatabase) -> None:
        copy = make_pattern("zeta", signature=make_pattern("beta").signature)
        save_patterns(database, copy)
        nearest, *rest = database.get_similar_models("beta", top_k=3)
        assert (nearest.model, nearest.kind, nearest.kind_percentile) == ("zeta", 0.0, 0.0)
        assert len(rest) == 2

    def test_similar_to_each_is_similar_to_one_after_the_other(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("new", version="2"))
        database.get_similar_to_each(["alpha", "new"])  # What a session remembers is read.
        with counting_queries(database) as statements:
            found = database.get_similar_to_each(["alpha", "new", "beta"], top_k=2)
        assert {key: database.get_similar_models(key, top_k=2) for key in ("alpha", "beta")} | {"new": ()} == found
        with counting_queries(database) as fewer:
            database.get_similar_to_each(["alpha", "new"], top_k=2)
        # Six of them look whether the file has lost rows, three of each version.
        assert len(statements) == len(fewer) <= 22
        with pytest.raises(NotMinedError, match="no pattern of 'bta'"):
            database.get_similar_to_each(["alpha", "bta"])

    def test_similar_to_an_unknown_model_is_an_error(self, database: PatternDatabase) -> None:
        with pytest.raises(NotMinedError, match="no pattern of 'bta'") as caught:
            database.get_similar_models("bta")
        assert "'beta'" in caught.value.hint

    def test_signatures_of_two_versions_are_not_compared(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("new", version="2"))
        for ask in (lambda: database.compare_patterns("alpha", "new"), lambda: database.get_similar_models("new")):
            with pytest.raises(StoreError, match="versions 1 and 2 cannot be compared"):
                ask()
        assert "new" not in {each.model for each in database.get_similar_models("alpha")}

    def test_compare_shows_both_sides_of_every_role(self, database: PatternDatabase) -> None:
        comparison = database.compare_patterns("alpha", "beta")
        query = next(role for role in comparison.roles if role.role == "attention_query")
        fits = [next(r.fit for r in p.roles if r.role == "attention_query") for p in self.PATTERNS[:2]]
        assert [(side.r2, side.gain) for side in (query.a, query.b)] == [(f.r2, f.gain) for f in fits if f]
        assert comparison.roles[-1].role == "model" and query.dimensions == 15

    @pytest.mark.parametrize(
        ("table", "rows"), [("catalog", 4), ("tensors", 40), ("signatures", 308), ("distances", 6)]
    )
    def test_tables_have_a_row_for_each_thing(self, database: PatternDatabase, table: str, rows: int) -> None:
        assert len(database.export_catalog(table)) == rows

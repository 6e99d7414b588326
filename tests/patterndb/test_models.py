"""Models in order, the same on SQLite and on PostgreSQL."""

from dataclasses import replace

import pytest

from dna_zoo.errors import NotMinedError, SettingsError
from patterndb.models import ModelFilter
from patterndb.records import ArtifactRecord, PatternRecord
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns


def keys(database: PatternDatabase, which: ModelFilter | None = None, **how: object) -> list[str]:
    return [each.model.key for each in database.models(which, **how)]  # type: ignore[arg-type]


class TestModels:
    def test_the_current_version_of_each_is_listed_with_settings_and_counts(self, database: PatternDatabase) -> None:
        old, new = make_pattern("alpha", 1, run="one"), make_pattern("alpha", 2, run="two")
        save_patterns(database, old, new, replace(new, pattern_key="again", run="three"))
        (entry,) = database.models()
        assert (entry.model, entry.run, entry.pattern_key, entry.is_current) == (new.model, "three", "again", True)
        assert (entry.patterns, entry.versions, entry.chosen.seed, entry.chosen.budget) == (3, 2, 2, 0.01)
        assert new.fit and (entry.r2, entry.null_r2) == (new.fit.r2, new.fit.means_null_r2)
        assert entry.gain == new.fit.gain_beyond_means

    def test_a_seed_and_epochs_of_64_bits_are_listed_like_others(self, database: PatternDatabase) -> None:
        large = make_pattern("alpha")
        fit = large.settings["fit"] | {"epochs": 2**62 + 1}
        save_patterns(database, replace(large, settings=large.settings | {"seed": 2**63 - 1, "fit": fit}))
        save_patterns(database, make_pattern("beta", run="two"))
        assert [each.chosen.seed for each in database.models()] == [2**63 - 1, 0]
        (found, *_) = database.models(by="epochs")
        assert (found.model.key, found.chosen.epochs) == ("alpha", 2**62 + 1)

    def test_versions_are_every_pattern_of_the_key_the_newest_first(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("alpha", 1, run="one"), make_pattern("alpha", 2, run="two"))
        save_patterns(database, make_pattern("beta"))
        found = database.model_versions("alpha")
        assert [(each.run, each.is_current) for each in found] == [("two", True), ("one", False)]
        with pytest.raises(NotMinedError, match="no pattern of 'alpah'"):
            database.model_versions("alpah")

    def test_what_is_not_meant_is_left_out(self, database: PatternDatabase) -> None:
        vision = make_pattern("beta")
        vision = replace(vision, model=replace(vision.model, modality="vision", tier=3), pattern_class="noisy")
        alpha = replace(make_pattern("alpha"), pattern_class="sparse")
        save_patterns(database, alpha, vision)
        database.tag_model("beta", ["paper", "100%"])
        database.note_model("alpha", "Of MARCH")
        for which in (
            ModelFilter(modality="vision"), ModelFilter(tier=3), ModelFilter(pattern_class="noisy"),
            ModelFilter(tags=("paper", "100%")), ModelFilter(text="0%"),
        ):  # fmt: skip
            assert keys(database, which) == ["beta"], which
        for text in ("march", "someone/ALPHA"):
            assert keys(database, ModelFilter(text=text)) == ["alpha"]
        assert keys(database, ModelFilter(tags=("paper", "other"))) == keys(database, ModelFilter(text="a_c")) == []

    def test_they_are_sorted_with_the_unknown_last_either_way(self, database: PatternDatabase) -> None:
        patterns = [make_pattern(key) for key in ("alpha", "beta", "gamma")]
        bare = replace(patterns[1], fit=None)
        save_patterns(database, patterns[0], bare, patterns[2])
        r2 = {p.model.key: p.fit.r2 for p in patterns if p.fit}
        known = sorted(("alpha", "gamma"), key=lambda key: r2[key])
        assert keys(database, by="r2") == [*known, "beta"]
        assert keys(database, by="r2", descending=True) == [*known[::-1], "beta"]
        assert keys(database, limit=2) == ["alpha", "beta"]
        with pytest.raises(SettingsError, match="sorted by 'colour'"):
            database.models(by="colour")

    def test_models_of_one_file_are_named(self, database: PatternDatabase) -> None:
        alpha, beta = make_pattern("alpha"), make_pattern("beta")
        twin = replace(beta, model=replace(beta.model, sha256=alpha.model.sha256))
        save_patterns(database, alpha, twin, make_pattern("gamma"))
        assert database.same_files("alpha", alpha.model.sha256) == ("beta",)
        assert database.same_files("gamma", make_pattern("gamma").model.sha256) == ()


class TestTagsAndNotes:
    def test_tags_are_given_once_and_taken_away(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("alpha"))
        assert database.tag_model("alpha", ["b", "a", "b"]) == ("a", "b")
        assert database.tag_model("alpha", ["a", "c"], take_away=True) == ("b",)
        assert database.models()[0].tags == ("b",)

    @pytest.mark.parametrize("tag", ["", "a b", "a,b", "a\nb", "x" * 61, "\x1b[31m"])
    def test_what_is_no_tag_is_refused(self, database: PatternDatabase, tag: str) -> None:
        save_patterns(database, make_pattern("alpha"))
        with pytest.raises(SettingsError, match="cannot be a tag"):
            database.tag_model("alpha", ["good", tag])
        assert database.models()[0].tags == ()

    def test_a_note_replaces_the_one_before_and_an_empty_one_takes_it_away(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("alpha"))
        for note, kept in (("first", "first"), ("second", "second"), ("", None)):
            database.note_model("alpha", note)
            assert database.models()[0].note == kept
        with pytest.raises(SettingsError, match="cannot be kept"):
            database.note_model("alpha", "\x1b]0;x\x07")


class TestRename:
    def test_everything_of_the_model_is_under_the_new_key(self, database: PatternDatabase) -> None:
        old, new = make_pattern("alpha", 1, run="one"), make_pattern("alpha", 2, run="two")
        save_patterns(database, old, new)
        database.tag_model("alpha", ["a"])
        database.note_model("alpha", "note")
        database.rename_model("alpha", "omega")
        (entry,) = database.models()
        assert (entry.model.key, entry.tags, entry.note, entry.patterns) == ("omega", ("a",), "note", 2)
        found = database.load_pattern("omega", run="one")
        assert replace(found, model=old.model, pattern_key=old.pattern_key) == old
        assert [model.pattern_key for model in database.run("one").models] == [found.pattern_key]

    def test_a_run_finds_it_by_the_key_that_it_knew(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("alpha", 1, run="one"), make_pattern("beta", 2, run="two"))
        database.rename_model("alpha", "omega")
        assert database.load_pattern("alpha", run="one").model.key == "omega"
        for run in (None, "two"):
            with pytest.raises(NotMinedError):
                database.load_pattern("alpha", run=run)

    def test_mining_the_old_key_again_leaves_the_renamed_one_alone(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("alpha"))
        database.rename_model("alpha", "omega")
        save_patterns(database, make_pattern("alpha"))
        assert keys(database) == ["alpha", "omega"]

    def test_no_model_takes_the_name_of_another(self, database: PatternDatabase) -> None:
        save_patterns(database, make_pattern("alpha"), make_pattern("beta"))
        with pytest.raises(SettingsError, match="a model 'beta' already"):
            database.rename_model("alpha", "beta")
        assert keys(database) == ["alpha", "beta"]


class TestRemove:
    def test_nothing_of_the_model_is_left_but_what_runs_did(self, database: PatternDatabase) -> None:
        alpha, beta = make_pattern("alpha"), make_pattern("beta")
        save_patterns(database, alpha, make_pattern("alpha", 2), beta)
        database.tag_model("alpha", ["a"])
        removed = database.remove_model("alpha")
        assert (removed.patterns, {each.path for each in removed.artifacts}) == (2, {alpha.artifacts[0].path})
        assert keys(database) == ["beta"] and database.load_pattern("beta") == beta
        assert [(model.key, model.status, model.pattern_key is None) for model in database.run("run-1").models] == [
            ("alpha", "done", True), ("beta", "done", False),
        ]  # fmt: skip
        save_patterns(database, alpha)
        assert database.models()[0].tags == ()

    def test_a_file_that_another_pattern_has_too_is_not_given_away(self, database: PatternDatabase) -> None:
        shared = ArtifactRecord(kind="log", path="runs/run-1/shared", sha256="0" * 64, num_bytes=1)
        alpha, beta = (make_pattern(key) for key in ("alpha", "beta"))
        patterns = [replace(p, artifacts=(*p.artifacts, shared)) for p in (alpha, beta)]
        save_patterns(database, *patterns)
        assert database.removal_of("alpha").artifacts == alpha.artifacts
        assert database.remove_model("alpha").artifacts == alpha.artifacts
        assert database.remove_model("beta").artifacts == (*beta.artifacts, shared)

    def test_a_url_that_another_pattern_names_too_is_not_given_away(self, database: PatternDatabase) -> None:
        def kept(key: str, *names: str) -> PatternRecord:
            files = (ArtifactRecord(kind="log", path=f"{key}/{name}", sha256="0" * 64, num_bytes=1) for name in names)
            artifacts = (replace(each, url=f"s3://zoo/sha256/{each.path[-1:]}") for each in files)
            return replace(make_pattern(key), artifacts=(*make_pattern(key).artifacts, *artifacts))

        save_patterns(database, kept("alpha", "a", "s"), kept("beta", "b", "s"))
        assert database.removal_of("alpha").urls == ("s3://zoo/sha256/a",)
        assert database.remove_model("alpha").urls == ("s3://zoo/sha256/a",)
        assert database.remove_model("beta").urls == ("s3://zoo/sha256/b", "s3://zoo/sha256/s")


class TestMixedSettings:
    def test_settings_that_figures_depend_on_are_named_with_their_values(self, database: PatternDatabase) -> None:
        def mined(key: str, budget: float, nulls: int, preset: str) -> None:
            fit = {"budget": budget, "checkpoint_every": nulls}
            settings = {"preset": preset, "fit": fit, "analysis": {"num_nulls": nulls}, "device": preset, "seed": 0}
            save_patterns(database, replace(make_pattern(key), settings=settings))

        mined("alpha", 0.01, 8, "quick")
        mined("beta", 0.045, 8, "thorough")
        mined("gamma", 0.01, 2, "quick")
        assert database.mixed_settings() == {"analysis.num_nulls": (2, 8), "fit.budget": (0.01, 0.045)}
        assert database.mixed_settings(signatures_only=True) == {"analysis.num_nulls": (2, 8)}
        assert database.mixed_settings(keys=["alpha", "beta"], signatures_only=True) == {}

"""What a pattern explains of a left-out lineage: much of a planted property, nothing of shuffled models."""

import numpy as np
import pytest
import torch

from library.patterns.evidence import explained_share, judge_parts, shrunk_mean
from library.patterns.records import Key
from tests.support.sharing import bert, build

pytestmark = pytest.mark.slow


def draws(count: int, num_draws: int, length: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 1 + num_draws, 5, length))


def test_the_share_is_1_for_equal_lineages_and_about_0_for_noise() -> None:
    assert explained_share(np.ones((4, 5, 3))) == pytest.approx(1.0)
    noise = np.random.default_rng(0).standard_normal((200, 4, 5, 3))
    assert abs(np.mean([explained_share(each) for each in noise])) < 0.05


def test_the_mean_of_noise_is_shrunk_and_that_of_agreement_is_not() -> None:
    rng = np.random.default_rng(0)
    noise, common = rng.standard_normal((4, 500)), rng.standard_normal(500)
    assert np.square(shrunk_mean(noise)).mean() < 0.1 * np.square(noise.mean(axis=0)).mean()
    assert shrunk_mean(common + 0.01 * noise) == pytest.approx(common, abs=0.05)


def test_p_is_uniform_for_shuffled_models() -> None:
    key, found = Key("ffn_in", "spectrum"), []
    for seed in range(300):
        values = draws(4, 19, seed=seed)
        lineages = [{key: own[0]} for own in values]
        shuffled = [[{key: draw} for draw in own[1:]] for own in values]
        found.append(judge_parts(lineages, shuffled, seed=0)[key].p)
    shares = [np.mean(np.array(found) <= level) for level in (0.05, 0.25, 0.5)]
    assert shares == pytest.approx([0.05, 0.25, 0.5], abs=0.09)


def test_p_is_uniform_where_no_role_has_a_scale_of_its_own() -> None:
    keys = [Key(name, "scale") for name in "abcde"]
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        lineages = [
            {key: np.full((5, 1), value) for key, value in zip(keys, rng.standard_normal(5), strict=True)}
            for _ in range(4)
        ]
        found.append(judge_parts(lineages, [[]] * 4, seed=seed)[keys[0]].p)
    assert [np.mean(np.array(found) <= level) for level in (0.05, 0.5)] == pytest.approx([0.05, 0.5], abs=0.1)


def test_a_pattern_of_models_without_training_explains_no_structure() -> None:
    pattern = build([bert(seed, width=16, depth=1) for seed in range(4)], num_draws=9)
    structure = [key for key in pattern.holding if key.term not in ("scale", "vectors")]
    assert structure == []
    assert pattern.parts[Key("attention_query", "scale")].evidence is not None


def test_a_planted_product_holds_and_canonical_forms_of_noise_stay_out() -> None:
    models = [bert(seed, width=16, depth=1) for seed in range(4)]
    for model in models:
        for layer in model.bert.encoder.layer:
            own = layer.attention.self
            with torch.no_grad():
                own.key.weight.copy_(0.5 * own.query.weight + 0.85 * own.key.weight)
    pattern = build(models, num_draws=9)
    part = pattern.parts[Key("query_key", "products")]
    assert part.is_used and part.evidence is not None and part.evidence.explained > 0.9
    assert part.at(0.3)[0] == pytest.approx(0.5, abs=0.05)
    assert not [key for key in pattern.parts if key.term == "canonical"]


def test_two_lineages_are_not_tested_and_the_pattern_says_so() -> None:
    pattern = build([bert(seed, width=16, depth=1) for seed in range(2)], num_draws=2)
    assert pattern.tested == () and "too few" in pattern.verdict


def test_a_pattern_with_too_few_draws_says_that_nothing_could_be_found() -> None:
    models = [bert(seed, width=16, depth=1) for seed in range(3)]
    for model in models:
        for layer in model.bert.encoder.layer:
            with torch.no_grad():
                layer.attention.self.key.weight.copy_(layer.attention.self.query.weight)
    few, many = (build(models, num_draws=num_draws) for num_draws in (2, 9))
    part = Key("query_key", "products")
    assert not few.parts[part].is_used and many.parts[part].is_used
    assert few.least_p == pytest.approx(1 / 27) and "With 2 shuffled copies of each lineage" in few.verdict
    assert many.least_p == pytest.approx(0.001) and "shuffled" not in many.verdict

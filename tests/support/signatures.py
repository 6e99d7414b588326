"""A short layout for signatures as `drawn_models` of the benchmarks draws them: enough for every part."""

from benchmarks.parts.database.drawn_models import DrawnModel, draw_models

__all__ = ["NAMES", "DrawnModel", "draw_short"]

NAMES = (
    *(f"model/all/statistic_{number:02}" for number in range(10)),
    *(f"kind{role}/all/statistic_{number:02}" for role in range(12) for number in range(10)),
    *(f"fingerprint/part{role}/inputs_{number:03}" for role in range(8) for number in range(48)),
    *(f"fingerprint/all/names_{number:03}" for number in range(64)),
    *(f"fingerprint/all/keys_{number:02}" for number in range(8)),
)


def draw_short(count: int, seed: int = 0) -> tuple[DrawnModel, ...]:
    """Models with these dimensions; a few lack single statistics."""
    models = tuple(draw_models(NAMES, count, seed=seed))
    for number, model in enumerate(models):
        if number % 10 == 3:
            model.values[number % 10 :: 97] = float("nan")
    return models

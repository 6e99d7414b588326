"""From names, tiers and paths on the command line to the models that are asked for."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.output import print_error
from cli.session import Session
from dna_zoo.errors import DnaZooError, SettingsError
from dna_zoo.text import without_secrets
from pipeline.fetch.plan import require_known
from pipeline.fetch.request import ModelRequest
from zoo.registry import CARDS, select_cards

__all__ = ["mined_hub_ids", "model_requests", "require_some"]


def model_requests(
    names: Sequence[str],
    *,
    tier: int | None = None,
    everything: bool = False,
    weights: Sequence[str] = (),
    local: Sequence[Path] = (),
    local_names: Sequence[str] = (),
    **how: Any,
) -> tuple[ModelRequest, ...]:
    """The models asked for, each once, in the order asked.

    - `weights`: `KEY=PATH`, the file to read in place of KEY's own; KEY need not be among `names`.
    - `local`, `local_names`: pairs, a path and what to call it.
    - `how`: fields of `ModelRequest` that hold for all of them.

    Raises `SettingsError` if nothing is asked for, a pair is incomplete, or a name holds what may be a password: runs
    keep what they were asked for.
    """
    parts = (part for pair in weights for part in pair.split("=", 1))
    if any(map(_may_be_secret, (*names, *parts, *map(str, local), *local_names))):
        hint = "Give keys, Hub ids or paths; the URL of a database belongs behind `--db`."
        raise SettingsError("What is given as a model looks like a URL or a text that holds a password.", hint=hint)
    paths = dict(_split_pair(pair) for pair in weights)
    chosen = [*names, *_chosen_keys(tier, everything), *paths]
    requests = [ModelRequest(name=name, weights=paths.get(name)) for name in dict.fromkeys(chosen)]
    requests += _local_requests(local, local_names)
    if not requests:
        hint = "Give keys of `dna-zoo zoo`, Hub ids or directories, or `--tier N`, or `--all`."
        raise SettingsError("No model is named.", hint=hint)
    return tuple(replace(request, **how) for request in requests)


def _may_be_secret(name: str) -> bool:
    """Whether the name holds what may be a password; a path that is there is a path, such as `design=2` of a sweep."""
    if without_secrets(name) == name:
        return False
    with suppress(OSError, RuntimeError, ValueError):  # Too long, no such user, a NUL.
        return not Path(name).expanduser().exists()
    return True


def mined_hub_ids(session: Session) -> Iterator[str]:
    """Names in the database that can be mined again by name; none where it cannot be opened."""
    with suppress(DnaZooError), session.database() as database:
        yield from (key for key in database.model_keys() if "/" in key)


def require_some(requests: Sequence[ModelRequest], session: Session) -> None:
    """Before anything heavy is loaded: raise an error if none of the requests can be a model, telling of the others."""
    problems = [error for request in requests if (error := _problem(request, session))]
    if len(problems) == len(requests):
        for error in problems[:-1]:
            print_error(error.message, error.hint)
        raise problems[-1]


def _problem(request: ModelRequest, session: Session) -> DnaZooError | None:
    try:
        require_known(request, mined_hub_ids(session))
    except DnaZooError as error:
        return error
    return None


def _chosen_keys(tier: int | None, everything: bool) -> tuple[str, ...]:
    """Keys of the zoo, tier by tier; the small ones come first."""
    if everything and tier is not None:
        raise SettingsError("`--all` and `--tier` contradict each other.", hint="Give one of them.")
    if everything:
        return tuple(sorted(CARDS, key=lambda key: (CARDS[key].tier, key)))
    return tuple(card.key for card in select_cards(tier=tier)) if tier is not None else ()


def _split_pair(pair: str) -> tuple[str, Path]:
    """`KEY=PATH` in two."""
    key, equals, path = pair.partition("=")
    if not (key and equals and path):
        raise SettingsError(f"`--weights` is {pair!r}.", hint="Write KEY=PATH, such as minilm-l6=./model.safetensors.")
    return key, Path(path).expanduser()


def _local_requests(paths: Sequence[Path], names: Sequence[str]) -> Iterator[ModelRequest]:
    """One model for each pair of `--local` and `--name`."""
    if len(paths) != len(names):
        message = f"There are {len(paths)} of `--local` and {len(names)} of `--name`."
        raise SettingsError(message, hint="Give each path its name: --local PATH --name KEY, repeated.")
    for path, name in zip(paths, names, strict=True):
        yield ModelRequest(name=str(path), weights=path.expanduser(), key=name)

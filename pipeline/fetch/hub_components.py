"""Repositories of the Hub that hold several models: components of diffusers, modules of sentence-transformers."""

from pathlib import Path, PurePosixPath

from dna_zoo.errors import FetchError, UnknownModelError
from pipeline.fetch import hub
from pipeline.fetch.records import load_components, load_revision, store_components, store_revision
from pipeline.weights.components import MODULES, PIPELINE, component_names
from pipeline.weights.files import LARGEST_CONFIG, WEIGHT_NAMES
from pipeline.weights.folders import is_weights

__all__ = ["find_hub_components"]


def find_hub_components(repo: str, revision: str | None, home: Path) -> tuple[str, ...]:
    """The folders of a repository that are models of their own, "" for the repository itself; empty if it is one model.

    The Hub is asked once a commit, with one request, and one more where there is an index of components; not at all
    offline, or where the cache has the repository's own weights. A Hub that does not answer leaves it one model: what
    is in the way, fetching it says.
    """
    if not hub.is_repo_id(repo):
        return ()
    pinned = revision or load_revision(home, repo)
    known = load_components(home, repo, pinned) if pinned else None
    if known is None:
        known = () if hub.is_offline() or _is_cached(repo, pinned) else _ask(repo, pinned, home)
    return () if known == ("",) else known


def _is_cached(repo: str, revision: str | None) -> bool:
    return any(hub.cached_path(repo, name, revision) for name in WEIGHT_NAMES)


def _ask(repo: str, revision: str | None, home: Path) -> tuple[str, ...]:
    try:
        commit, files = hub.list_files(repo, revision)
        indexes = [name for name in (PIPELINE, MODULES) if name in files]
        paths = [hub.download(repo, name, commit, lambda num_bytes: None, most=LARGEST_CONFIG) for name in indexes]
    except (FetchError, UnknownModelError):
        return ()
    with_weights = {_folder(name) for name in files if is_weights(PurePosixPath(name).name)}
    named = component_names(paths[0].parent) if paths else ()
    found = tuple(name for name in named if name in with_weights)
    if revision is None:
        store_revision(home, repo, commit)
    store_components(home, repo, commit, found)
    return found


def _folder(name: str) -> str:
    """The folder of a file in a repository, "" for the repository itself."""
    return "" if "/" not in name else str(PurePosixPath(name).parent)

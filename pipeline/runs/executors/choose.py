"""Which executor a request means."""

from dna_zoo.errors import SettingsError
from patterndb.connection.engine import file_of, parse_url
from pipeline.runs.executors.here import InThisProcess
from pipeline.runs.executors.processes import Processes
from pipeline.runs.executors.shares import visible_gpus
from pipeline.runs.executors.work import Executor

__all__ = ["choose"]


def choose(*, on: str | None, jobs: int | None, device: str, database_url: str) -> Executor:
    """Where to mine.

    - `on`: `ray` for a local cluster (or the one that RAY_ADDRESS names), `HOST:PORT` or `ray://HOST:PORT` for another;
      None for this machine without Ray.
    - `jobs`: models at a time. None is one, or one a GPU where all GPUs may be used; on Ray, as many as there is room.

    Raises `SettingsError` for what is none of these.
    """
    if jobs is not None and jobs < 1:
        raise SettingsError(f"`--jobs` is {jobs}.", hint="Give an integer of at least 1.")
    if on is not None:
        from pipeline.runs.executors.ray_cluster import RayCluster
        from pipeline.runs.executors.ray_start import import_ray, parse_address

        address = parse_address(on)
        import_ray()
        return RayCluster(address=address, jobs=jobs, database_url=_reached_from_afar(database_url))
    if jobs is None and device in ("auto", "cuda"):
        jobs = len(visible_gpus())
    return Processes(jobs=jobs, database_url=_reached_from_afar(database_url)) if jobs and jobs > 1 else InThisProcess()


def _reached_from_afar(url: str) -> str:
    """The URL for a process that works in another folder."""
    parsed = parse_url(url)
    path = file_of(parsed)
    return (
        url
        if path is None or str(path).startswith("file:")
        else parsed.set(database=str(path.absolute())).render_as_string(hide_password=False)
    )

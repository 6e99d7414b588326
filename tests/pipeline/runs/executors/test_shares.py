"""How a machine is divided, and which executor a request means."""

import pytest

from dna_zoo.errors import SettingsError
from pipeline.events import Event
from pipeline.machine.parallel import CORES, num_cores
from pipeline.runs.executors import throttle
from pipeline.runs.executors.choose import choose
from pipeline.runs.executors.here import InThisProcess
from pipeline.runs.executors.processes import Processes
from pipeline.runs.executors.ray_cluster import RayCluster
from pipeline.runs.executors.ray_start import LOCAL, parse_address
from pipeline.runs.executors.shares import shares_of

URL = "sqlite:///x.db"


def test_cores_are_divided_and_each_worker_has_one_gpu() -> None:
    shares = shares_of(3, num_cores=8, gpus=["0", "4"])
    assert [(share.cores, share.gpu) for share in shares] == [(2, "0"), (2, "4"), (2, "0")]
    assert shares[1].environment["CUDA_VISIBLE_DEVICES"] == "4" and shares[1].environment["OMP_NUM_THREADS"] == "2"
    assert [share.cores for share in shares_of(4, num_cores=2)] == [1] * 4
    assert "CUDA_VISIBLE_DEVICES" not in shares_of(1, num_cores=2)[0].environment


@pytest.mark.parametrize(("given", "cores"), [("1", 1), ("100000", None), ("", None), ("0", 1), ("x", None)])
def test_a_process_may_be_held_to_fewer_cores(given: str, cores: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES, raising=False)
    there = num_cores()
    monkeypatch.setenv(CORES, given)
    assert num_cores() == (cores or there)


def test_the_executor_is_what_was_asked_for() -> None:
    assert choose(on=None, jobs=None, device="cpu", database_url=URL) == InThisProcess()
    assert choose(on=None, jobs=1, device="auto", database_url=URL) == InThisProcess()
    several = choose(on=None, jobs=4, device="auto", database_url=URL)
    assert isinstance(several, Processes) and several.jobs == 4 and several.database_url.startswith("sqlite:////")
    cluster = choose(on="10.0.0.1:6379", jobs=4, device="auto", database_url="postgresql://me:secret@h/d")
    assert isinstance(cluster, RayCluster) and (cluster.address, cluster.jobs) == ("10.0.0.1:6379", 4)
    assert "secret" not in repr(cluster) and cluster.database_url == "postgresql://me:secret@h/d"


def test_all_gpus_of_a_machine_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runs.executors.choose.visible_gpus", lambda: ("0", "1", "2"))
    for device in ("auto", "cuda"):
        several = choose(on=None, jobs=None, device=device, database_url=URL)
        assert isinstance(several, Processes) and several.jobs == 3
    assert choose(on=None, jobs=None, device="cuda:1", database_url=URL) == InThisProcess()


@pytest.mark.parametrize("jobs", [0, -1])
def test_less_than_one_job_is_refused(jobs: int) -> None:
    with pytest.raises(SettingsError, match="--jobs"):
        choose(on=None, jobs=jobs, device="cpu", database_url=URL)


def test_addresses_of_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert parse_address("ray") == LOCAL
    assert [parse_address(each) for each in ("ray://h:10001", "10.0.0.1:6379", "[::1]:6379")] == [
        "ray://h:10001",
        "10.0.0.1:6379",
        "[::1]:6379",
    ]
    for wrong in ("", "slurm", "ray://h", "h", "h:1:2", "http://h:1", "h:port"):
        with pytest.raises(SettingsError, match="--on"):
            parse_address(wrong)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    assert parse_address("ray") == "10.0.0.2:6379"


def test_a_cluster_takes_no_sqlite_file_and_no_gpu_by_number() -> None:
    elsewhere = choose(on="10.0.0.1:6379", jobs=None, device="cpu", database_url=URL)
    assert isinstance(elsewhere, RayCluster)
    with pytest.raises(SettingsError, match="SQLite") as found:
        elsewhere._joined()
    assert "postgresql://" in found.value.hint


def test_progress_is_thinned_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now[0])
    heard: list[Event] = []
    hand_on = throttle.throttled(heard.append)
    for kind, done in (("start", 0), ("progress", 1), ("progress", 2), ("note", 0), ("progress", 3)):
        hand_on(Event(kind=kind, model="m", stage="fit", done=done, total=3))  # type: ignore[arg-type]
    assert [(event.kind, event.done) for event in heard] == [
        ("start", 0),
        ("progress", 1),
        ("note", 0),
        ("progress", 3),
    ]
    now[0] += 1
    hand_on(Event(kind="progress", model="m", stage="fit", done=1))
    assert heard[-1].done == 1

"""`dna-zoo dashboard`: a file or a server, and two sentences for what is not there."""

import signal
import socket
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Invoke, Start


@pytest.mark.slow
def test_a_view_is_written_to_a_file_once(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    arguments = ("dashboard", "--export", str(path), "--state", "#tab=models&model=alpha", "--theme", "dark")
    assert invoke(*arguments).exit_code == 0
    assert 'data-theme="dark"' in path.read_text() and "alpha" in path.read_text()
    again = invoke(*arguments)
    assert again.exit_code == 2 and "--force" in again.stderr
    assert invoke(*arguments, "--force").exit_code == 0


def test_a_file_of_another_kind_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("dashboard", "--export", str(tmp_path / "page.pdf"))
    assert result.exit_code == 2 and ".html" in result.stderr and not list(tmp_path.glob("page*"))


def test_without_a_database_it_says_so(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("dashboard", "--db", f"sqlite:///{tmp_path / 'none.db'}")
    assert result.exit_code == 1 and "none.db" in result.stderr and not (tmp_path / "none.db").exists()


def test_without_the_extra_it_names_the_extra(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dash", None)
    result = invoke("dashboard")
    assert result.exit_code == 2 and "dna-zoo[see]" in result.stderr


def test_a_port_in_use_is_named(invoke: Invoke) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = invoke("dashboard", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2 and "--port" in result.stderr


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted(start: Start) -> None:
    process = start("dashboard", "--port", "0")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with urlopen(address) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0

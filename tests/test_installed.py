"""The built wheel in a virtual environment of its own, away from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.tiny_models import make_tiny_checkpoint
from zoo.registry import ALL_CARDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dna-zoo` as a wheel installs it. The libraries it needs are this environment's; its own packages are not."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        f"--python={python}",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(install, check=True, env={**os.environ, "PIP_CONSTRAINT": ""}, capture_output=True)
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A path in a .pth file is searched after site-packages, and .pth files in it are not read: the checkout stays out.
    (site_packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "venv" / "bin" / "dna-zoo"


def run(program: Path, folder: Path, *arguments: str) -> str:
    """What the command prints, run in `folder` with a home of its own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DNA_ZOO_HOME": str(folder / "home")}
    done = subprocess.run([program, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_the_wheel_that_runs(program: Path, tmp_path: Path) -> None:
    code = (
        "import cli, patterndb, pipeline, zoo; print(cli.__file__, patterndb.__file__, pipeline.__file__, zoo.__file__)"
    )
    done = subprocess.run(
        [program.parent / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(program.parent.parent)) for path in done.stdout.split())


def test_the_schema_comes_with_it(program: Path, tmp_path: Path) -> None:
    run(program, tmp_path, "db", "upgrade")
    assert run(program, tmp_path, "db", "current").strip()
    run(program, tmp_path, "db", "check")


def test_the_cards_come_with_it(program: Path, tmp_path: Path) -> None:
    assert len(json.loads(run(program, tmp_path, "zoo", "--format", "json"))) == len(ALL_CARDS)


def test_it_mines_a_local_directory(program: Path, tmp_path: Path) -> None:
    make_tiny_checkpoint("minilm-l6", tmp_path / "tiny", seed=0)
    run(program, tmp_path, "mine", "./tiny", "--epochs", "2", "--nulls", "2")
    shown = json.loads(run(program, tmp_path, "show", "tiny", "--format", "json"))
    assert shown["model"] == "tiny"
    assert shown["fit"]["null_r2"] is not None
    run(program, tmp_path, "report", "tiny", "--out", "found")
    assert "</html>" in (tmp_path / "found" / "report.html").read_text()


def test_the_dashboard_finds_its_styles(program: Path, tmp_path: Path) -> None:
    run(program, tmp_path, "db", "upgrade")
    run(program, tmp_path, "dashboard", "--export", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Nothing is mined yet" in page and "data-theme" in page.split("</style>")[0].split("<style>")[1]

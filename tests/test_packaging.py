"""The wheel: it holds every module and every SQL file, and it works from a directory where the sources are not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("relay", "sidecar_api", "storage")
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
IMPORT_ALL = """
import importlib, pathlib, pkgutil
for name in ("relay", "sidecar_api", "storage"):
    package = importlib.import_module(name)
    assert pathlib.Path(package.__file__).is_relative_to(pathlib.Path.cwd()), package.__file__
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend itself, so that nothing is fetched."""
    directory = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", BUILD, str(directory)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory / done.stdout.split()[-1]


def sources() -> Iterator[str]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.suffix in {".py", ".sql", ".css", ".js"} or path.name == "py.typed":
                yield str(path.relative_to(ROOT))


def test_it_holds_every_source_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(sources())
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert any(name.endswith(".sql") for name in names)


def test_its_facts(wheel: Path) -> None:
    assert wheel.name == f"stagepost-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        facts = archive.read(f"stagepost-{__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"stagepost-{__version__}.dist-info/entry_points.txt").decode()
        licence = archive.read(f"stagepost-{__version__}.dist-info/licenses/LICENSE").decode()
    assert "Name: stagepost\n" in facts
    assert "Requires-Python: >=3.11\n" in facts
    assert "stagepost = relay.cli.main:main" in scripts
    assert "Apache License" in licence


def test_it_imports_without_the_sources(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

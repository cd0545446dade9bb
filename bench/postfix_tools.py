"""Postfix's smtp-source and smtp-sink, and on Debian its daemons, fetched but never installed.

They are the load and the far end that mail people know and trust, written in C and faster than any relay in between.
On Debian and its children the package `postfix` is downloaded with apt and unpacked into a cache directory: no
maintainer script runs, nothing outside the cache changes. Elsewhere the two tools must be on PATH.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, check_run

PROJECT = Path(__file__).resolve().parent.parent
CACHE = PROJECT / ".bench"
DEPENDENCY_ROUNDS = 3  # a library's libraries' libraries: deeper than Postfix's go


@dataclass(frozen=True)
class PostfixTools:
    """Where the tools are, and the environment in which they find their libraries."""

    source: Path
    sink: Path
    environment: dict[str, str]
    package: Path | None
    """Root of the unpacked Debian package, None for tools found on PATH: the peer needs the package."""

    @property
    def version(self) -> str:
        """As Postfix tells it; unknown without the package, for the tools themselves do not say."""
        if self.package is None:
            return "unknown"
        postconf = self.package / "usr/sbin/postconf"
        # -d reads no main.cf values, yet wants the file to exist
        with tempfile.TemporaryDirectory() as empty:
            Path(empty, "main.cf").touch()
            return check_run([postconf, "-c", empty, "-dh", "mail_version"], environment=self.environment).strip()


def find_tools(cache: Path = CACHE) -> PostfixTools:
    """The tools of this machine, fetched the first time they are asked for."""
    package = cache / "postfix"
    if not package.exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        _fetch(package)
    if package.exists():
        binaries = package / "usr/sbin"
        return PostfixTools(binaries / "smtp-source", binaries / "smtp-sink", _environment(package), package)
    source, sink = shutil.which("smtp-source"), shutil.which("smtp-sink")
    if source is None or sink is None:
        raise BenchError("smtp-source and smtp-sink are needed: put Postfix's on PATH, or run this on Debian")
    return PostfixTools(Path(source), Path(sink), dict(os.environ), None)


def _fetch(package: Path) -> None:
    """Unpack beside the final place and rename, so that an interrupted fetch leaves nothing half-done."""
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent) as scratch:
        unpacked, downloads = Path(scratch, "root"), Path(scratch, "debs")
        downloads.mkdir()
        _unpack("postfix", downloads, unpacked)
        _add_missing_libraries(downloads, unpacked)
        unpacked.rename(package)


def _unpack(name: str, downloads: Path, root: Path) -> None:
    try:
        check_run(["apt-get", "download", name], directory=downloads)
    except BenchError as error:
        raise BenchError(f"{error} (is `apt-get update` due?)") from error
    for archive in downloads.glob(f"{name}_*.deb"):
        check_run(["dpkg", "-x", archive, root])


def _add_missing_libraries(downloads: Path, root: Path) -> None:
    """A machine without Postfix may lack what its package depends on: those libraries are unpacked beside it."""
    fetched: set[str] = set()
    for _ in range(DEPENDENCY_ROUNDS):
        if not (missing := _missing_libraries(root)):
            return
        wanted = {name for archive in downloads.glob("*.deb") for name in _library_dependencies(archive)} - fetched
        for name in sorted(wanted):
            _unpack(name, downloads, root)
        fetched |= wanted
    if missing := _missing_libraries(root):
        raise BenchError(f"Postfix's tools need libraries that are not here: {', '.join(sorted(missing))}")


def _missing_libraries(root: Path) -> set[str]:
    programs = [root / "usr/sbin" / name for name in ("smtp-source", "smtp-sink", "postconf")]
    programs += [root / "usr/lib/postfix/sbin" / name for name in ("master", "smtpd", "smtp", "cleanup", "qmgr")]
    report = check_run(["ldd", *programs], environment=_environment(root))
    return set(re.findall(r"(\S+) => not found", report))


def _library_dependencies(archive: Path) -> list[str]:
    """Names from the Depends field that are libraries; the C library itself is always there."""
    depends = check_run(["dpkg", "-f", archive, "Depends"])
    names = [alternative.split()[0].partition(":")[0] for alternative in depends.split(",") if alternative.strip()]
    return [name for name in names if name.startswith("lib") and name != "libc6"]


def _environment(root: Path) -> dict[str, str]:
    folders = [root / "usr/lib/postfix", *root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    return dict(os.environ) | {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders)}

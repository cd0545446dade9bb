"""A disk that fails, and one that is full: nothing that was answered 250 is lost, and nobody is told 5yz."""

from __future__ import annotations

import os
import platform
import re
import signal
import smtplib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.failing_sync import NUMBERS
from tests.support.relay_process import STAGEPOST, RelayProcess, relay_directory

EX_IOERR = 74
SMALL, LARGE = 1_000, 200_000
TMPFS = 64 << 20


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    """A relay that is configured but not started; mail is captured."""
    with (
        relay_directory() as directory,
        RelayProcess(directory, f"sqlite://{directory}/data/stagepost.db") as process,
    ):
        yield process


def send(relay: RelayProcess, size: int, name: str = "one") -> str:
    """Hand in a message; its queue id, or the reply."""
    body = f"Subject: {name}\r\n\r\n" + ("x" * 70 + "\r\n") * (size // 72)
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=30) as client:
        try:
            client.ehlo()
            code, text = client.mail("a@sender.test")
            if code == 250:
                code, text = client.rcpt("b@receiver.test")
            if code == 250:
                code, text = client.data(body)
        except smtplib.SMTPServerDisconnected:
            return "gone"
        except smtplib.SMTPDataError as refused:
            code, text = refused.smtp_code, refused.smtp_error  # type: ignore[assignment]
    return text.decode().rpartition(" ")[2] if code == 250 else f"{code} {text.decode()}"


def is_whole(directory: Path) -> bool:
    store = sqlite3.connect(directory / "stagepost.db")
    try:
        return bool(store.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        store.close()


# -- a disk that fails ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="the numbers of its system calls are not known here")
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["database", "spool"])
def test_a_sync_that_fails_ends_the_process(relay: RelayProcess, size: int) -> None:
    """451 for what waits, exit code 74, and the next start has all that was answered 250."""
    relay.command = (sys.executable, "-m", "tests.support.failing_sync")
    relay.start()
    kept = [send(relay, size) for _ in range(3)]
    assert relay.process is not None
    relay.process.send_signal(signal.SIGUSR1)
    failed = send(relay, size)
    while not failed.startswith("451"):  # the signal may not have come through yet
        assert len(failed) == 16
        kept.append(failed)
        failed = send(relay, size)
    assert failed == "451 4.3.0 temporarily unable to accept mail, try again later"
    assert relay.process.wait(10) == EX_IOERR
    assert "could not be synced to disk" in relay.log
    relay.process, relay.command = None, (STAGEPOST,)
    relay.start()
    assert len(kept) >= 3
    for message in kept:
        assert relay.cli("messages", "show", message)["state"] == "captured"
    # What was answered 451 may be there as well: it had been written, only nobody could vouch for it.
    assert len(relay.cli("messages", "list")["items"]) - len(kept) in {0, 1}
    assert relay.stop() == 0
    assert is_whole(relay.directory / "data")


# -- a disk that is full -------------------------------------------------------------------------------------------------


def data_of(relay: RelayProcess) -> Path:
    """The data directory as the relay sees it."""
    assert relay.process is not None
    return Path("/proc", str(relay.process.pid), "root", *relay.directory.parts[1:], "data")


class SmallDisk:
    """A file system of some MiB in a mount namespace of the relay's own, no root needed; seen from here through /proc."""

    def __init__(self, relay: RelayProcess) -> None:
        self._relay = relay
        (relay.directory / "data").mkdir()
        mount = f"mount -t tmpfs -o size={TMPFS} none {relay.directory}/data"
        relay.command = ("unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "sh", *relay.command)

    @property
    def root(self) -> Path:
        return data_of(self._relay)

    def fill(self, left: int) -> None:
        """Leave so many octets free."""
        figures = os.statvfs(self.root)
        with (self.root / "ballast").open("wb") as ballast:
            ballast.write(bytes(max(0, figures.f_bavail * figures.f_frsize - left)))

    def clear(self) -> None:
        (self.root / "ballast").unlink()


def has_small_disks() -> bool:
    mount = ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "none", "/mnt"]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_small_disks = pytest.mark.skipif(
    not has_small_disks(), reason="no file systems of one's own here (user namespaces)"
)


@needs_small_disks
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["database", "spool"])
def test_a_full_disk_loses_nothing(relay: RelayProcess, size: int) -> None:
    """ENOSPC within transactions and files: 451 or 452 alone; with space again mail is taken again, without a restart."""
    relay.options = {"storage": {"min_free": "0"}}
    disk = SmallDisk(relay)
    relay.start()
    kept, refused = fill_up(relay, disk, size)
    assert {reply[:3] for reply in refused} <= {"451", "452"}
    assert refused
    assert relay.process is not None
    assert relay.process.poll() is None
    disk.clear()
    kept += [until_taken(relay, size)]
    all_there(relay, kept, size)


@needs_small_disks
def test_a_disk_that_runs_low_closes_the_door_before(relay: RelayProcess) -> None:
    """452 at MAIL, which says why; readiness too; the door opens by itself."""
    relay.options = {"storage": {"min_free": "32MiB"}}
    disk = SmallDisk(relay)
    relay.start()
    kept = [send(relay, SMALL)]
    disk.fill(31 << 20)  # the write-ahead log takes 16 until it is used again
    reply = send(relay, SMALL)
    while len(reply) == 16:  # a look is believed for a second
        kept.append(reply)
        reply = send(relay, SMALL)
    assert reply == "452 4.3.1 insufficient disk space, try again later"
    answer = relay.request("GET", "/health/ready")
    assert (answer.status, list(answer.body["parts"])) == (503, ["disk"])
    disk.clear()
    kept += [until_taken(relay, SMALL)]
    assert relay.request("GET", "/health/ready").status == 200
    all_there(relay, kept, SMALL)


def fill_up(relay: RelayProcess, disk: SmallDisk, size: int) -> tuple[list[str], list[str]]:
    """Send until the disk is full and a while longer; ids of what was taken, and the other replies."""
    kept, refused = [send(relay, size)], list[str]()
    disk.fill(1 << 20)
    for _ in range(3000):
        reply = send(relay, size)
        (kept if len(reply) == 16 else refused).append(reply)
        if len(refused) == 20:
            break
    print(f"{len(kept)} taken, then {set(refused)}")
    return kept, refused


def until_taken(relay: RelayProcess, size: int) -> str:
    """Try until a message is taken, for at most ten seconds."""
    too_late = threading.Event()
    timer = threading.Timer(10, too_late.set)
    timer.start()
    try:
        while not too_late.is_set():
            if len(reply := send(relay, size)) == 16:
                return reply
    finally:
        timer.cancel()
    raise AssertionError("no mail was taken within 10 s")


def all_there(relay: RelayProcess, kept: list[str], size: int) -> None:
    """Every message with its content, and the database whole."""
    # The command line, outside that namespace, would find another directory.
    (token,) = re.findall(r"shown this once: (\S+)", relay.log)
    for message in kept:
        content = relay.request("GET", f"/v1/messages/{message}/content?tenant=default", token)
        assert content.status == 200, (message, content.body)
        assert str(content.body).count("x" * 70) == size // 72
    assert is_whole(data_of(relay))

"""Supervisor: the parent of the workers. Starts them, passes signals on, starts the dead again, ends when all have ended.

It has no event loop and no threads, so that it can fork at any time; it holds nothing that a worker could break, and what it
was given before (sockets, shared memory) every worker inherits, the later ones too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

from relay.service import READY, STOPPING, WATCHDOG, notify, watchdog_interval
from relay.workers import lifeline
from relay.workers.lifeline import HEARTBEAT, Lifeline

ANSWERS_WITHIN = 2.5 * HEARTBEAT
"""A worker that has said nothing for so long (seconds) is silent: the service manager's watchdog is fed no more."""
HUNG_AFTER = 6 * HEARTBEAT
"""And after so long it is killed, so that the others need not die with it."""
LIVED_LONG = 10.0
"""A worker that lived so long (seconds) is started again at once; one that keeps dying sooner, ever later."""
LONGEST_PAUSE = 30.0
SOFTWARE_ERROR = 70
"""EX_SOFTWARE: a worker ended by an exception that nobody foresaw."""

_PASSED_ON = {signal.SIGTERM: signal.SIGTERM, signal.SIGINT: signal.SIGTERM, signal.SIGHUP: signal.SIGHUP}

log = logging.getLogger(__name__)

Work = Callable[[int, int, Lifeline], int]
"""A whole life of a worker, given its number and which life it is; answers its exit code."""


def restart_pause(lived: float, deaths: int) -> float:
    """Seconds to wait before a worker is started again that lived so long; `deaths` in a row came too soon."""
    if lived >= LIVED_LONG or deaths <= 1:
        return 0.0
    return min(2.0 ** (deaths - 2), LONGEST_PAUSE)


@dataclass
class _Worker:
    number: int
    pid: int = 0
    sock: socket.socket | None = None
    """Our end of its lifeline; None: it does not run."""
    is_ready: bool = False
    started_at: float = 0.0
    heard_at: float = 0.0
    life: int = 0
    """How often it was started."""
    deaths: int = 0
    """In a row, each soon after its start."""
    start_at: float = 0.0
    """When it is to be started, while it does not run."""
    is_killed: bool = False


@dataclass
class Supervisor:
    """Runs `count` workers. `on_ready` is called when all were ready for the first time, `on_stop` when the first signal to
    stop arrives, `on_death` with the number of a worker that has ended. A stop takes at most `grace` seconds. A worker that
    ends with an exit code of `fatal` takes all others with it, at once."""

    count: int
    work: Work
    grace: float
    fatal: Set[int] = frozenset()
    on_ready: Callable[[], None] = lambda: None
    on_stop: Callable[[], None] = lambda: None
    on_death: Callable[[int], None] = lambda _: None
    _workers: list[_Worker] = field(default_factory=list)
    _code: int = 0
    _was_ready: bool = False
    _stop_by: float | None = None

    def run(self) -> int:
        """Until all have ended; the exit code: 0 after a stop in good order."""
        self._workers = [_Worker(number) for number in range(self.count)]
        with _signals() as told, selectors.DefaultSelector() as self._selector:
            self._selector.register(told, selectors.EVENT_READ)
            self._watchdog = watchdog_interval()
            self._feed_at = time.monotonic()
            while self._stop_by is None or any(worker.sock for worker in self._workers):
                self._act(time.monotonic())
                for key, _ in self._selector.select(self._patience(time.monotonic())):
                    if key.fileobj is told:
                        self._take_signals(told)
                    else:
                        self._hear(key.data)
        return self._code

    # -- what is due ----------------------------------------------------------------------------------------------------

    def _act(self, now: float) -> None:
        for worker in self._workers:
            if worker.sock is not None and not worker.is_killed and self._must_die(worker, now):
                worker.is_killed = True
                os.kill(worker.pid, signal.SIGKILL)
            elif worker.sock is None and self._stop_by is None and worker.start_at <= now:
                self._start(worker)
        if self._watchdog is not None and self._feed_at <= now:
            self._feed_at = now + self._watchdog
            if all(worker.sock and now - worker.heard_at < ANSWERS_WITHIN for worker in self._workers):
                notify(WATCHDOG)

    def _must_die(self, worker: _Worker, now: float) -> bool:
        if self._stop_by is not None and now >= self._stop_by:
            log.error("worker %d did not stop in time and is killed", worker.number)
            return True
        if now - worker.heard_at >= HUNG_AFTER:
            log.error("worker %d has not answered for %.0f s and is killed", worker.number, now - worker.heard_at)
            return True
        return False

    def _patience(self, now: float) -> float:
        """How long to wait for something to happen before something is due."""
        alive = [one for one in self._workers if not one.is_killed]
        dues = [one.start_at if one.sock is None else one.heard_at + HUNG_AFTER for one in alive]
        dues += [self._stop_by] if self._stop_by is not None else []
        dues += [self._feed_at] if self._watchdog is not None else []
        return max(0.01, min(dues, default=now + 60) - now)

    # -- workers --------------------------------------------------------------------------------------------------------

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal must not meet the child while it has our handlers: it would be taken for delivered, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        worker.life += 1
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._be_worker(worker, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        theirs.close()
        ours.setblocking(False)
        now = time.monotonic()
        worker.pid, worker.sock, worker.is_ready, worker.is_killed = pid, ours, False, False
        worker.started_at = worker.heard_at = now
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _be_worker(self, worker: _Worker, sock: socket.socket) -> None:
        """In the child; never returns."""
        code = SOFTWARE_ERROR
        try:
            for other in self._workers:
                if other.sock is not None:
                    other.sock.close()
            self._selector.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent alone decides
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            code = self.work(worker.number, worker.life, Lifeline(sock))
        except BaseException:
            log.exception("worker %d failed", worker.number)
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _hear(self, worker: _Worker) -> None:
        if worker.sock is None:
            return
        try:
            told = worker.sock.recv(64)
        except BlockingIOError:
            return
        except OSError:
            told = b""
        worker.heard_at = time.monotonic()
        if not told:  # it is about to end; SIGCHLD tells when it has
            self._selector.unregister(worker.sock)
        elif told == lifeline.READY:
            worker.is_ready = True
            if not self._was_ready and all(one.is_ready for one in self._workers):
                self._was_ready = True
                self.on_ready()
                notify(f"{READY}\nSTATUS=Accepting mail in {self.count} workers")

    def _reap(self) -> None:
        """Whoever has ended."""
        for worker in self._workers:
            if worker.sock is not None:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(worker.sock)
                    worker.sock.close()
                    worker.sock = None
                    self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, code: int) -> None:
        """It has ended: the others are told, and it is started again."""
        self.on_death(worker.number)
        if self._stop_by is not None:
            self._code = self._code or (0 if code == 0 else max(code, 1))
            return
        if code in self.fatal:
            self._code = code
            self._stop(signal.SIGKILL)
            return
        if not self._was_ready:  # what keeps one from its start keeps all, and is for whoever starts us to know
            self._code = max(code, 1)
            self._stop()
            return
        lived = time.monotonic() - worker.started_at
        worker.deaths = 1 if lived >= LIVED_LONG else worker.deaths + 1
        pause = restart_pause(lived, worker.deaths)
        worker.start_at = time.monotonic() + pause
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        log.error(
            "worker %d ended %s; it is started again %s", worker.number, how, f"in {pause:.0f} s" if pause else "now"
        )
        for other in self._workers:
            if other.sock is not None:
                with contextlib.suppress(OSError):  # it is dying too
                    other.sock.send(lifeline.DIED + f"{worker.number} {worker.life}".encode())

    # -- signals --------------------------------------------------------------------------------------------------------

    def _take_signals(self, told: socket.socket) -> None:
        for number in told.recv(64):
            passed_on = _PASSED_ON.get(signal.Signals(number))
            if number == signal.SIGCHLD:
                self._reap()
            elif passed_on is signal.SIGTERM:
                self._stop()
            elif passed_on is not None:
                self._send(passed_on)

    def _stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """In good order; asked a second time, at once."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self.grace
            notify(f"{STOPPING}\nSTATUS=Finishing what is under way")
            self.on_stop()
        self._send(by)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.sock is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which the numbers of the signals can be read that this process gets meanwhile."""
    ours, pythons = socket.socketpair()
    with ours, pythons:
        ours.setblocking(False)
        pythons.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in (*_PASSED_ON, signal.SIGCHLD)}
        fd_before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)

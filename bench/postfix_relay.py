"""A private Postfix as the peer: the unpacked package with its own configuration, queue, data and ports.

It runs with Postfix's own defaults (fsync of every queue file, process and concurrency limits, input flow control);
main.cf below only says where things are, whose they are and where the mail goes. Nothing is installed, no user is
added: where `postfix` and `postdrop` are missing, other accounts of the base system stand in for them.
"""

import contextlib
import grp
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contract import RunningRelay, Setup
from bench.processes import (
    LOOPBACK,
    BenchError,
    check_run,
    free_port,
    is_root,
    listening,
    running,
    unprivileged_user,
    wait_until,
)

MAIL_OWNERS = ("postfix", "mail", "news", "uucp", "lp")
SETGID_GROUPS = ("postdrop", "news", "uucp", "lp", "games")
DEFAULT_PRIVILEGES = "nobody"
MESSAGE_SIZE_LIMIT = 100_000_000  # the default of 10 MB would refuse what bench.memory sends

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
daemon_directory = {package}/usr/lib/postfix/sbin
command_directory = {package}/usr/sbin
meta_directory = {directory}/conf
shlib_directory = {package}/usr/lib/postfix
# The daemons are started with a clean environment, yet have to find the libraries of the unpacked package.
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
mail_owner = {owner}
setgid_group = {group}
default_privs = {privileges}
myhostname = relay.bench.example
mydestination =
alias_maps =
alias_database =
inet_interfaces = {loopback}
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
message_size_limit = {size_limit}
relayhost = [{loopback}]:{sink_port}
"""

MAIL_LOG_CF = """\
maillog_file = {directory}/mail.log
maillog_file_prefixes = {directory}
"""

# Debian's master.cf without the services that relaying does not use, and without chroot: its jail is not set up here.
MASTER_CF = """\
{loopback}:{port} inet n - n - - smtpd
cleanup    unix  n  -  n  -      0  cleanup
qmgr       unix  n  -  n  300    1  qmgr
tlsmgr     unix  -  -  n  1000?  1  tlsmgr
rewrite    unix  -  -  n  -      -  trivial-rewrite
bounce     unix  -  -  n  -      0  bounce
defer      unix  -  -  n  -      0  bounce
trace      unix  -  -  n  -      0  bounce
verify     unix  -  -  n  -      1  verify
flush      unix  n  -  n  1000?  0  flush
proxymap   unix  -  -  n  -      -  proxymap
smtp       unix  -  -  n  -      -  smtp
relay      unix  -  -  n  -      -  smtp
error      unix  -  -  n  -      -  error
retry      unix  -  -  n  -      -  error
anvil      unix  -  -  n  -      1  anvil
scache     unix  -  -  n  -      1  scache
postlog    unix-dgram n - n -    1  postlogd
"""


@dataclass(frozen=True)
class Identity:
    """Whose queue it is. Postfix refuses to start unless these are three different users and groups, none of them root."""

    owner: str
    group: str


@contextlib.contextmanager
def postfix_relay(setup: Setup) -> Iterator[RunningRelay]:
    """Postfix that relays everything to the sink, ended with the block."""
    package = setup.tools.package
    if package is None:
        raise BenchError("Postfix as a peer needs the daemons of Debian's package: this machine has no apt-get")
    if not is_root():
        raise BenchError("Postfix as a peer needs root: its master process gives every daemon another user")
    port = free_port()
    conf = _write_configuration(setup, package, port)
    check_run([package / "usr/sbin/postfix", "-c", conf, "check"], environment=setup.tools.environment)
    log = setup.directory / "postfix.log"
    master: list[str | Path] = [package / "usr/lib/postfix/sbin/master", "-c", conf, "-d"]
    with running(master, log=log, environment=setup.tools.environment) as process:
        wait_until(lambda: listening(port), process, "postfix")
        yield RunningRelay(port, process.pid)


def _write_configuration(setup: Setup, package: Path, port: int) -> Path:
    identity = _identity()
    conf = setup.directory / "conf"
    shutil.copytree(package / "etc/postfix", conf)  # lists what `postfix check` creates in the queue directory
    (conf / "dynamicmaps.cf").touch()
    for name in ("queue", "data"):
        (setup.directory / name).mkdir()
    shutil.chown(setup.directory / "data", identity.owner)
    main = MAIN_CF + (MAIL_LOG_CF if setup.peer_log else "")
    (conf / "main.cf").write_text(
        main.format(
            directory=setup.directory,
            package=package,
            owner=identity.owner,
            group=identity.group,
            privileges=DEFAULT_PRIVILEGES,
            loopback=LOOPBACK,
            size_limit=MESSAGE_SIZE_LIMIT,
            sink_port=setup.sink_port,
        )
    )
    (conf / "master.cf").write_text(MASTER_CF.format(loopback=LOOPBACK, port=port))
    return conf


def _identity() -> Identity:
    owner = unprivileged_user(MAIL_OWNERS)
    taken = {pwd.getpwnam(owner).pw_gid, pwd.getpwnam(DEFAULT_PRIVILEGES).pw_gid, 0}
    groups = {entry.gr_name for entry in grp.getgrall() if entry.gr_gid not in taken}
    group = next((name for name in SETGID_GROUPS if name in groups), None)
    if group is None:
        raise BenchError(f"none of the groups {', '.join(SETGID_GROUPS)} is free for Postfix's queue")
    return Identity(owner, group)

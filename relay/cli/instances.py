"""`stagepost instances`."""

from __future__ import annotations

import shutil
from typing import Any

import click

from relay.cli.commands import Noun, local_verb
from relay.cli.completion import instance_names
from relay.cli.exits import Exit, Failure
from relay.cli.named import Named, every, existing, named
from relay.cli.options import yes_option
from relay.cli.output import show_facts, show_rows
from relay.cli.prompts import confirm
from relay.cli.session import Session

COLUMNS = {"Instance": "name", "State": "state", "PID": "pid", "SMTP": "smtp", "REST": "api", "Directory": "directory"}
START_WITHIN = 60.0
STOP_WITHIN = 60.0
PORT = click.IntRange(1, 65535)


@click.group("instances", cls=Noun)
def command() -> None:
    """Named instances: relays of this machine, by name."""


@command.command("list")
@local_verb
def list_(session: Session) -> None:
    """All, with their ports, and whether they run."""
    found = {"items": [_facts(one) for one in every()]}
    session.show(found, lambda found: show_rows(found["items"], COLUMNS, spare=["Directory", "PID"]))


@command.command("start")
@click.argument("name", shell_complete=instance_names)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where a new one listens.")
@click.option("--smtp-port", type=PORT, metavar="PORT", help="Of a new one; else the next that is free.")
@click.option("--api-port", type=PORT, metavar="PORT", help="Of a new one; else the next that is free.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=START_WITHIN, metavar="SECONDS",
              show_default=True, help="How long to wait until it is ready.")  # fmt: skip
@local_verb
def start(session: Session, name: str, host: str, smtp_port: int | None, api_port: int | None, timeout: float) -> None:
    """Start an instance in the background and wait until it is ready; one that is not there is made.

    Its configuration, data and log are in a directory of its own, in ~/.local/share/stagepost/instances (by XDG_DATA_HOME)
    or STAGEPOST_INSTANCES. Ports are chosen once and remembered in its config.ini. Settings of the environment do not count.
    """
    instance = named(name)
    if instance.exists:
        if smtp_port or api_port:
            raise Failure(Exit.FAILED, f"{name} exists; change its ports in {instance.config_file}, then restart it")
        _must_not_run(instance)
    else:
        instance.make(host, smtp_port, api_port)
    _start(session, instance, timeout)


@command.command("stop")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=instance_names)
@click.option("--all", "everything", is_flag=True, help="All that run.")
@click.option("--force", is_flag=True, help="Kill it; what was accepted is on disk, what is under way is tried again.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=STOP_WITHIN, metavar="SECONDS",
              show_default=True, help="How long to wait for its end.")  # fmt: skip
@local_verb
def stop(session: Session, names: tuple[str, ...], everything: bool, force: bool, timeout: float) -> None:
    """Stop instances and wait until they have ended; one that does not run is no error."""
    from relay.cli import background

    if everything == bool(names):
        raise click.UsageError("Say the instance's NAME, or --all.")
    chosen = every() if everything else [existing(name) for name in names]
    done = [{"name": one.name, "stopped": background.stop(one, force=force, timeout=timeout)} for one in chosen]
    session.show({"items": done}, _show_stopped)


@command.command("restart")
@click.argument("name", shell_complete=instance_names)
@click.option("--force", is_flag=True, help="Kill it.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=STOP_WITHIN, metavar="SECONDS",
              show_default=True, help="How long its end, and its start, may take.")  # fmt: skip
@local_verb
def restart(session: Session, name: str, force: bool, timeout: float) -> None:
    """Stop an instance, if it runs, and start it."""
    from relay.cli import background

    instance = existing(name)
    background.stop(instance, force=force, timeout=timeout)
    _start(session, instance, timeout)


@command.command("status")
@click.argument("name", shell_complete=instance_names)
@local_verb
def status(session: Session, name: str) -> None:
    """How an instance is; exit 1 where it does not run or is not ready."""
    instance = existing(name)
    facts = _facts(instance)
    if facts["pid"] is not None:
        facts |= _health(instance)
    session.show(facts, show_facts)
    if facts["state"] != "running" or not facts["ready"]:
        raise click.exceptions.Exit(Exit.FAILED)


@command.command("delete")
@click.argument("name", shell_complete=instance_names)
@yes_option
@click.option("--force", is_flag=True, help="Kill it first, if it runs.")
@local_verb
def delete(session: Session, name: str, yes: bool, force: bool) -> None:  # noqa: ARG001  # as every verb
    """Delete an instance with all its mail, accounts and tokens. A PostgreSQL database of it stays."""
    from relay.cli import background

    instance = existing(name)
    confirm(f"Delete instance {name} with all that is in {instance.directory}?", yes=yes)
    if force:
        background.stop(instance, force=True, timeout=STOP_WITHIN)
    _must_not_run(instance)
    try:
        shutil.rmtree(instance.directory)
    except OSError as fault:
        raise Failure(Exit.NO_PERMISSION, f"{fault.filename} cannot be deleted: {fault.strerror}") from None


def _start(session: Session, instance: Named, timeout: float) -> None:
    from relay.cli import background

    token = _token_in(background.start(instance, timeout))
    facts = {**_facts(instance), "admin_token": token}
    session.show(facts, lambda facts: click.echo(_started(facts)))


def _started(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['name']} is running.",
        f"  SMTP   {', '.join(facts['smtp']) or 'off'}",
        f"  REST   {', '.join(facts['api']) or 'off'}",
        f"  log    {facts['log']}",
        f"Commands work on it with -i {facts['name']}: stagepost -i {facts['name']} messages list",
    ]
    if facts["admin_token"]:
        lines.append(f"Admin token, shown this once: {facts['admin_token']}")
    return "\n".join(lines)


def _must_not_run(instance: Named) -> None:
    from relay.instance import serving_pid

    if (pid := serving_pid(instance.config().server.data_dir)) is not None:
        raise Failure(
            Exit.FAILED, f"{instance.name} is running (process {pid}); stagepost instances stop {instance.name}"
        )


def _facts(instance: Named) -> dict[str, Any]:
    from relay.instance import serving_pid

    facts: dict[str, Any] = {"name": instance.name, "state": "broken", "pid": None, "smtp": [], "api": []}
    try:
        config = instance.config()
    except Failure as fault:
        return {**facts, "directory": str(instance.directory), "fault": fault.message}
    facts["pid"] = pid = serving_pid(config.server.data_dir)
    facts["state"] = "stopped" if pid is None else "running"
    scheme = "https" if config.api.certificate else "http"
    facts["smtp"] = [str(one) for one in (*config.smtp.listen, *config.smtp.tls_listen)]
    facts["api"] = [f"{scheme}://{one}" for one in config.api.listen]
    return {**facts, "directory": str(instance.directory), "log": str(instance.log_file)}


def _health(instance: Named) -> dict[str, Any]:
    """What the running relay says of itself."""
    from relay.cli.where import Where
    from sidecar_api.operations import SHOW_READY

    try:
        ready = Session(Where(instance=instance.name), as_json=True).call(SHOW_READY)
    except Failure as fault:
        return {"ready": False, "fault": fault.message}
    return {"ready": True, "version": ready["version"]}


def _show_stopped(found: dict[str, Any]) -> None:
    for one in found["items"]:
        click.echo(f"{one['name']}: {'stopped' if one['stopped'] else 'did not run'}")


def _token_in(said: str) -> str | None:
    _, _, token = said.partition("shown this once: ")
    return token.split()[0] if token else None

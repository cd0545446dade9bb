"""Loading: defaults, then the file, then the environment; every fault is one line that names where it stands.

Relative paths in a file are relative to that file's directory, those of a variable to the working directory.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from relay.config.checks import CHECKS
from relay.config.sections import SECTIONS, Config, Key, keys
from relay.config.values import StoreUrl
from relay.errors import ConfigError

PATH_VARIABLE = "STAGEPOST_CONFIG"
SEARCH = (Path("config.ini"), Path("/etc/stagepost/config.ini"))

_PREFIX = "STAGEPOST_"
# Kubernetes sets these in every pod beside a Service called stagepost…; they are no settings and no mistakes,
# like the <SERVICE>_PORT=tcp://… beside them.
_ORCHESTRATOR = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as text and where it comes from: a file, a variable, or the defaults."""

    key: Key
    text: str
    origin: str
    base: Path | None = None
    """The directory that a relative path starts from; None: the working directory."""

    @property
    def place(self) -> str:
        """For an error: the origin, section and key."""
        return f"{self.origin}: [{self.key.section}] {self.key.name}"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found: the settings, and either a configuration or faults."""

    source: Path | None
    settings: tuple[Setting, ...]
    config: Config | None
    faults: tuple[str, ...]


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration; `path` None searches $STAGEPOST_CONFIG, ./config.ini, /etc/stagepost/config.ini.

    Raises ConfigError with the first fault, on one line.
    """
    found = examine(path, environ)
    if found.config is None:
        more = len(found.faults) - 1
        raise ConfigError(found.faults[0] + (f" (and {more} more: see stagepost config check)" if more else ""))
    return found.config


def examine(path: Path | None, environ: Mapping[str, str]) -> Examination:
    """The same, with every fault."""
    faults: list[str] = []
    settings: dict[tuple[str, str], Setting] = {
        (key.section, key.name): Setting(key, key.default, "default") for key in keys()
    }
    source = None
    try:
        source = find_file(path, environ)
        for setting in _from_file(source, settings, faults) if source else ():
            settings[setting.key.section, setting.key.name] = setting
    except ConfigError as fault:
        faults.append(str(fault))
    for setting in _from_environment(environ, settings, faults):
        settings[setting.key.section, setting.key.name] = setting
    values = {name: _read(setting, faults) for name, setting in settings.items()}
    config = None
    if not faults:
        _derive(values, environ)
        config = _build(values)
        faults += [
            f"{settings[mistake.section, mistake.name].place}: {mistake.text}"
            for check in CHECKS
            if (mistake := check(config)) is not None
        ]
    return Examination(source, tuple(settings.values()), None if faults else config, tuple(faults))


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: a named one must be there, the others may be missing."""
    named = path or (Path(text) if (text := environ.get(PATH_VARIABLE)) else None)
    if named is None:
        return next((candidate for candidate in SEARCH if candidate.exists()), None)
    if not named.is_file():
        said = "--config" if path else PATH_VARIABLE
        raise ConfigError(f"{named}: no such file (named by {said}); stagepost config example prints one")
    return named


def _from_file(source: Path, settings: Mapping[tuple[str, str], Setting], faults: list[str]) -> Iterator[Setting]:
    for section, name, text in _parse(source):
        if section not in SECTIONS:
            faults.append(f"{source}: [{section}] is not a section{_near(section, list(SECTIONS), 'allowed are')}")
        elif (known := settings.get((section, name))) is None:
            if name:
                others = [key for owner, key in settings if owner == section]
                faults.append(
                    f"{source}: [{section}] {name} is not a key of this section{_near(name, others, 'allowed are')}"
                )
        else:
            yield Setting(known.key, text, str(source), source.absolute().parent)


def _parse(source: Path) -> list[tuple[str, str, str]]:
    """Section, key and text in order; a section without keys has one empty key, so that its name is checked too."""
    parser = configparser.RawConfigParser(default_section="\0", comment_prefixes=("#", ";"))
    try:
        parser.read_string(source.read_text("utf-8-sig"), str(source))
    except OSError as fault:
        raise ConfigError(f"{source}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: is not UTF-8 text") from None
    except configparser.DuplicateOptionError as fault:
        raise ConfigError(f"{source}: [{fault.section}] {fault.option} stands twice (line {fault.lineno})") from None
    except configparser.DuplicateSectionError as fault:
        raise ConfigError(f"{source}: [{fault.section}] stands twice (line {fault.lineno})") from None
    except configparser.MissingSectionHeaderError as fault:
        raise ConfigError(f"{source}: line {fault.lineno} stands before the first [section]") from None
    except configparser.ParsingError as fault:
        raise ConfigError(f"{source}: line {fault.errors[0][0]} is neither [section] nor key = value") from None
    return [
        (section, name, text) for section in parser.sections() for name, text in (parser.items(section) or [("", "")])
    ]


def _from_environment(
    environ: Mapping[str, str], settings: Mapping[tuple[str, str], Setting], faults: list[str]
) -> Iterator[Setting]:
    by_variable = {setting.key.variable: setting.key for setting in settings.values()}
    for variable in sorted(environ):
        if key := by_variable.get(variable):
            yield Setting(key, environ[variable], variable)
        elif _is_mistaken(variable, environ[variable], by_variable):
            faults.append(f"{variable}: there is no such setting{_near(variable, list(by_variable), '')}")


def _is_mistaken(variable: str, value: str, known: Mapping[str, Key]) -> bool:
    """Names of our sections, and names close to ours, are meant for us; other STAGEPOST_ names may be anybody's."""
    if not variable.startswith(_PREFIX) or variable == PATH_VARIABLE:
        return False
    if _ORCHESTRATOR.fullmatch(variable) or (variable.endswith("_PORT") and "://" in value):
        return False
    section = variable.removeprefix(_PREFIX).partition("_")[0].lower()
    return section in SECTIONS or bool(get_close_matches(variable, known, 1, 0.85))


def _near(word: str, words: list[str], otherwise: str) -> str:
    if match := get_close_matches(word, words, 1, 0.6):
        return f"; did you mean {match[0]}?"
    return f"; {otherwise} {', '.join(words)}" if otherwise else "; stagepost config example lists them"


def _read(setting: Setting, faults: list[str]) -> Any:
    kind = setting.key.kind
    try:
        value = kind.read(setting.text)
    except ValueError as fault:
        quoted = f" = {_one_line(setting.text)}" if kind.quotable else ""
        faults.append(f"{setting.place}{quoted}: {fault}; must be {kind.allowed}")
        return None
    if isinstance(value, Path) and setting.base is not None:
        return setting.base / value
    return value


def _one_line(text: str) -> str:
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _derive(values: dict[tuple[str, str], Any], environ: Mapping[str, str]) -> None:
    """Fill in what is empty and follows from something else."""
    data_dir = (values["server", "data_dir"] or default_data_dir(environ)).absolute()
    values["server", "data_dir"] = data_dir
    values["security", "key_file"] = (values["security", "key_file"] or data_dir / "key").absolute()
    url: StoreUrl = values["storage", "url"]
    if not url or url.startswith("sqlite:"):
        # An absolute path after sqlite:// is written with three slashes and with four; three leave here.
        file = Path("/" + unquote(url.partition("://")[2]).lstrip("/")) if url else data_dir / "stagepost.db"
        values["storage", "url"] = StoreUrl(f"sqlite://{quote(str(file))}")
        values["storage", "spool"] = (values["storage", "spool"] or file.with_name(f"{file.name}.spool")).absolute()


def _build(values: Mapping[tuple[str, str], Any]) -> Config:
    return Config(
        **{
            section: of(**{name: value for (owner, name), value in values.items() if owner == section})
            for section, of in SECTIONS.items()
        }
    )


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where everything of an instance is that says nothing else: by the XDG base directory specification."""
    home = environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification: a relative path there is invalid and must be ignored.
    base = Path(home) if home.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return base / "stagepost"

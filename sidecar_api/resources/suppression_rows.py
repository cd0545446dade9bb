"""Many suppressions at once, as JSON, JSON lines or CSV: each row is taken or refused by itself, in small transactions.

CSV (RFC 4180) has a line of names first, of which `address` is one; without such a line the first column is the address and
nothing else is read, so that a bare list of addresses will do.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping

import orjson
from aiohttp import web

from relay.errors import Invalid, Violation
from relay.model.suppression import Imported, Suppression
from sidecar_api.auth import one_tenant
from sidecar_api.bodies import MAX_VIOLATIONS, read_json
from sidecar_api.call import Call, answer
from sidecar_api.problems import ProblemError
from sidecar_api.schemas import suppressions as shapes
from sidecar_api.schemas.fields import Reading
from sidecar_api.schemas.queries import TenantQuery

CSV = "text/csv"
JSON_LINES = "application/x-ndjson"
COLUMNS = ("address", "reason", "note", "since", "until", "message")
AT_ONCE = 500
"""Rows in one transaction."""
EXAMPLES: Mapping[str, str] = {
    CSV: "address,reason,note\nann@example.net,unsubscribe,\n@example.org,manual,a former customer\n",
    JSON_LINES: '{"address": "ann@example.net", "reason": "unsubscribe"}\n{"address": "@example.org"}\n',
}
"""What a body may be besides JSON."""

Row = tuple[int, object]
"""Its number, and what it holds; an Invalid where it cannot be read at all."""


async def import_suppressions(call: Call) -> web.Response:
    """POST /v1/suppressions/import: 200 where every row was taken, else 207."""
    tenant = await one_tenant(call.caller, call.asked(TenantQuery).tenant, call.services.directory)
    now, reading = call.services.clock.now(), call.reading()
    imported = Imported()
    faults: list[shapes.RowFaultOut] = []
    invalid = 0
    batch: list[Suppression] = []
    for number, held in _rows(call, reading):
        try:
            batch.append(_entry(held, tenant, now, reading))
        except Invalid as fault:
            invalid += 1
            faults += _faults(number, fault)[: MAX_VIOLATIONS - len(faults)]
        if len(batch) == AT_ONCE:
            imported += await call.services.suppressions.put(tenant, batch)
            batch = []
    if batch:
        imported += await call.services.suppressions.put(tenant, batch)
    out = shapes.ImportedOut(
        added=imported.added, changed=imported.changed, unchanged=imported.unchanged, invalid=invalid, faults=faults
    )
    return answer(207 if invalid else 200, out)


def _faults(number: int, fault: Invalid) -> list[shapes.RowFaultOut]:
    return [shapes.RowFaultOut(row=number, path=one.path, detail=one.detail) for one in fault.violations]


def _entry(held: object, tenant: str, now: int, reading: Reading) -> Suppression:
    if isinstance(held, Invalid):
        raise held
    try:
        octets = held if isinstance(held, bytes) else orjson.dumps(held)
    except orjson.JSONEncodeError:
        raise Invalid(Violation("", "holds a number that is too large")) from None
    try:
        entry = read_json(octets, shapes.ImportRow, reading).entry(tenant, now)
    except ProblemError as fault:
        raise Invalid(Violation("", fault.problem.detail)) from None
    if entry.until is not None and entry.until <= now:
        raise Invalid(Violation("/until", "has passed already"))
    return entry


def _rows(call: Call, reading: Reading) -> Iterator[Row]:
    """One after the other, as they are asked for; Invalid before the first where the whole is no list."""
    match call.request.content_type:
        case "text/csv":
            return _csv_rows(_text(_bounded(call.octets)))
        case "application/x-ndjson":
            lines = enumerate(io.BytesIO(_bounded(call.octets)), 1)
            return ((number, line) for number, line in lines if line.strip())
    return enumerate(read_json(call.octets, shapes.LooseImport, reading).items, 1)


def _bounded(octets: bytes) -> bytes:
    if octets.count(b"\n") > shapes.MAX_IMPORT + 1:  # with the line of names
        raise Invalid(Violation("", f"has more than {shapes.MAX_IMPORT} lines: send it in parts"))
    if not octets.strip():
        raise Invalid(Violation("", "holds no row"))
    return octets


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise Invalid(Violation("", f"is not UTF-8 at octet {fault.start}")) from None


def _csv_rows(text: str) -> Iterator[Row]:
    lines = _csv_lines(text)
    number, cells = next(lines, (1, []))
    if isinstance(cells, Invalid):
        raise cells
    names = [cell.strip().lower() for cell in cells]
    if "address" not in names:
        return (
            (n, _named(["address"], cells if isinstance(cells, Invalid) else cells[:1]))
            for n, cells in itertools.chain([(number, cells)], lines)
        )
    if unknown := [name for name in names if name not in COLUMNS]:
        raise Invalid(
            Violation("", f"line {number} names a column {unknown[0][:64]!r}: known are {', '.join(COLUMNS)}")
        )
    return ((n, _named(names, cells)) for n, cells in lines)


def _named(names: list[str], cells: list[str] | Invalid) -> object:
    if isinstance(cells, Invalid):
        return cells
    if len(cells) > len(names):
        return Invalid(Violation("", f"has {len(cells)} cells, and there are {len(names)} columns"))
    return {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}


def _csv_lines(text: str) -> Iterator[tuple[int, list[str] | Invalid]]:
    """Those that hold something, with the number of the line on which each ends; the last may be one that is no CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as fault:
        yield reader.line_num, Invalid(Violation("", f"is not CSV, and nothing behind it was read: {fault}"))


def csv_header() -> bytes:
    """The line of names."""
    return ",".join(COLUMNS).encode() + b"\r\n"


def csv_line(shown: Mapping[str, object]) -> bytes:
    """An entry."""
    out = io.StringIO()
    csv.writer(out).writerow("" if shown[name] is None else shown[name] for name in COLUMNS)
    return out.getvalue().encode()

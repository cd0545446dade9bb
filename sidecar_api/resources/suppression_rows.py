"""Many suppressions at once, as JSON, JSON lines or CSV: each row is taken or refused by itself, in small transactions.

CSV (RFC 4180) has a line of names first, of which `address` is one; without such a line the first column is the address and
nothing else is read, so that a bare list of addresses will do.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

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


def _rows(call: Call, reading: Reading) -> Iterable[Row]:
    match call.request.content_type:
        case "text/csv":
            return _csv_rows(_text(call.octets))
        case "application/x-ndjson":
            lines: list[Row] = [(n, line) for n, line in enumerate(call.octets.split(b"\n"), 1) if line.strip()]
            return _bounded(lines)
    return list(enumerate(read_json(call.octets, shapes.LooseImport, reading).items, 1))


def _bounded(rows: list[Row]) -> list[Row]:
    if not rows:
        raise Invalid(Violation("", "holds no row"))
    if len(rows) > shapes.MAX_IMPORT:
        raise Invalid(Violation("", f"holds more than {shapes.MAX_IMPORT} rows: send them in parts"))
    return rows


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise Invalid(Violation("", f"is not UTF-8 at octet {fault.start}")) from None


def _csv_rows(text: str) -> list[Row]:
    lines = _csv_lines(text)
    first = next(lines, None)
    if first is None:
        return _bounded([])
    number, cells = first
    names = [cell.strip().lower() for cell in cells]
    if "address" not in names:
        return _bounded([(n, {"address": cells[0].strip()}) for n, cells in (first, *lines)])
    if unknown := [name for name in names if name not in COLUMNS]:
        raise Invalid(
            Violation("", f"line {number} names a column {unknown[0][:64]!r}: known are {', '.join(COLUMNS)}")
        )
    return _bounded([(n, _named(names, cells)) for n, cells in lines])


def _named(names: list[str], cells: list[str]) -> object:
    if len(cells) > len(names):
        return Invalid(Violation("", f"has {len(cells)} cells, and there are {len(names)} columns"))
    return {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}


def _csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Those that hold something, with the number of the line on which each ends."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as fault:
        raise Invalid(Violation("", f"line {reader.line_num} is not CSV: {fault}")) from None


def csv_header() -> bytes:
    """The line of names."""
    return ",".join(COLUMNS).encode() + b"\r\n"


def csv_line(shown: Mapping[str, object]) -> bytes:
    """An entry."""
    out = io.StringIO()
    csv.writer(out).writerow("" if shown[name] is None else shown[name] for name in COLUMNS)
    return out.getvalue().encode()

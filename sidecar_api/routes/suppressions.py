"""Routes to suppressions."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import suppression_rows, suppressions
from sidecar_api.route import BODY, COMMON, Group, Route, delete, get
from sidecar_api.schemas import suppressions as shapes
from sidecar_api.schemas.queries import SuppressionsExportQuery, SuppressionsQuery, TenantQuery

GROUP = Group(
    "suppressions",
    "To whom a tenant must not send: addresses and whole domains, and why. Mail to them is accepted, and they end as"
    " `suppressed`.",
    (
        get(
            "/v1/suppressions",
            suppressions.list_suppressions,
            shapes.SuppressionsOut,
            "List suppressions",
            query=SuppressionsQuery,
        ),
        Route(
            "POST",
            "/v1/suppressions",
            suppressions.add_suppression,
            Access.MANAGE,
            "Suppress an address or a domain",
            {200: shapes.SuppressionOut, 201: shapes.SuppressionOut},
            TenantQuery,
            shapes.SuppressionIn,
            problems=COMMON | BODY,
            description="200 where the list said something of the address already: what is said now stands in its place.",
        ),
        Route(
            "POST",
            "/v1/suppressions/import",
            suppression_rows.import_suppressions,
            Access.MANAGE,
            "Suppress many, as JSON, JSON lines or CSV",
            {200: shapes.ImportedOut, 207: shapes.ImportedOut},
            TenantQuery,
            shapes.ImportIn,
            also=suppression_rows.EXAMPLES,
            reads_itself=True,
            problems=COMMON | BODY,
            description="Up to 100 000 rows; each is taken or refused by itself, 500 in a transaction: 207 where some are"
            " not valid, and `faults` says which. CSV begins with the names of its columns (`address`, `reason`, `note`,"
            " `since`, `until`, `message`), or its first column is the address and no other is read.",
        ),
        get(
            "/v1/suppressions/export",
            suppressions.export_suppressions,
            (suppression_rows.CSV, suppression_rows.JSON_LINES),
            "Export suppressions as CSV or JSON lines",
            query=SuppressionsExportQuery,
        ),
        get(
            "/v1/suppressions/{address}",
            suppressions.show_suppression,
            shapes.SuppressionOut,
            "Show what is said of an address or a domain",
        ),
        delete(
            "/v1/suppressions/{address}",
            suppressions.delete_suppression,
            "Let mail go again to an address or a domain",
        ),
    ),
)

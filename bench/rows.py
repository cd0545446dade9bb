"""Rows: one line of the table for each target, read from a program's document."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
NO_REGRESSION = 1.1
"""Times the latency of an empty queue that one with deferred mail may have: what two equal relays differ by in one run."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `enough` None: measured and reported, nothing was asked."""

    what: str
    target: str
    figure: str
    peer: str = ""
    enough: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: "–"}[self.enough]
        return f"| {self.what} | {self.target} | {self.figure} | {self.peer} | {verdict} |"


def _throughput(document: Document) -> list[Row]:
    """Each Stagepost of the run: against Postfix, or, with another store or more workers, against the plain one."""
    parameters, medians = document["parameters"], document["medians"]
    peer, plain = medians.get("postfix"), medians.get("stagepost")
    rows = []
    for relay, ours in medians.items():
        base, *variant = relay.split("+")
        if base != "stagepost":
            continue
        extra = ", ".join([*(variant or [parameters["storage"]]), *parameters["set"]])
        what = f"SMTP in and out, {parameters['sessions']} sessions, {extra}"
        figure = (
            f"{ours['accepted_per_s']} accepted/s, {ours['delivered_per_s']} delivered/s, {ours['cpu_seconds']} s CPU"
        )
        if variant == ["postgresql"] and plain:
            rows.append(_compared(what, "≥ 0.8 of SQLite's", 0.8, figure, (ours, plain), "SQLite"))
        elif variant and plain:
            rows.append(_compared(what, "against one process: reported", None, figure, (ours, plain), "one process"))
        elif peer:
            times = {10: 5, 50: 8}.get(parameters["sessions"])
            target = f"{times} × Postfix" if times else "reported"
            rows.append(_compared(what, target, times, figure, (ours, peer), "Postfix"))
        else:
            rows.append(Row(what, "reported", figure))
    return rows


def _compared(
    what: str, target: str, least: float | None, figure: str, medians: tuple[Document, Document], name: str
) -> Row:
    """Both rates as multiples of another relay's in the same run; a run that failed has none."""
    ours, other = medians
    rates = [(ours[rate], other[rate]) for rate in ("accepted_per_s", "delivered_per_s")]
    peer = f"{name}: {rates[0][1]} / {rates[1][1]}"
    if not all(mine and its for mine, its in rates):
        return Row(what, target, figure, peer, False)
    ratios = [round(mine / its, 2) for mine, its in rates]
    enough = None if least is None else min(ratios) >= least
    return Row(what, target, f"{figure}: {ratios[0]} × and {ratios[1]} ×", peer, enough)


def _rest(document: Document) -> list[Row]:
    result, storage = document["result"], document["parameters"]["storage"]
    single, batch, cost = result["single"], result["batches_of_100"], result["authentication"]
    return [
        Row(
            f"`POST /v1/messages`, {single['clients']} clients, while dispatch delivers, {storage}",
            "4 000 messages/s",
            _handed_in(single),
            enough=single["messages_per_s"] >= 4000,
        ),
        Row(
            f"batches of 100, {batch['clients']} clients, while dispatch delivers, {storage}",
            "10 000 messages/s",
            _handed_in(batch),
            enough=batch["messages_per_s"] >= 10_000,
        ),
        Row(
            f"authentication of a request, {storage}",
            "reported",
            f"{cost['known_us']} µs; {cost['first_us']} µs for a token not met before",
        ),
    ]


def _handed_in(found: Document) -> str:
    taken = found["request_ms"]
    return (
        f"{found['messages_per_s']} messages/s, a request p50 {taken['p50']} p99 {taken['p99']} ms; "
        f"{found['delivered_meanwhile_per_s']} delivered/s meanwhile"
    )


def _latency(document: Document) -> list[Row]:
    idle = {relay: phases["idle"] for relay, phases in document["relays"].items()}
    peer = ""
    if postfix := idle.get("postfix"):
        after, whole = postfix["accepted_to_sink_data_ms"]["p50"], postfix["dot_to_sink_data_ms"]["p50"]
        peer = f"Postfix: {after} ms (from the dot {whole} ms)"
    rows = []
    for relay, figures in idle.items():
        if not relay.startswith("stagepost"):
            continue
        plain, _, deferred = relay.partition(", ")
        storage = "postgresql" if "+postgresql" in relay else document["parameters"]["storage"]
        after, whole = figures["accepted_to_sink_data_ms"]["p50"], figures["dot_to_sink_data_ms"]["p50"]
        what, target = f"from 250 to the sink's DATA, idle, median, {storage}", "≤ 2 ms"
        figure, enough = f"{after} ms (from the dot {whole} ms)", after <= 2
        if deferred:
            ratio = round(whole / idle[plain]["dot_to_sink_data_ms"]["p50"], 2)
            what += f", {deferred} in the queue"
            target += f"; from the dot ≤ {NO_REGRESSION} × that of the empty queue"
            figure, enough = f"{figure}: {ratio} ×", enough and ratio <= NO_REGRESSION
        rows.append(Row(what, target, figure, peer, enough))
    return rows


def _queue(document: Document) -> list[Row]:
    result, storage = document["result"], document["parameters"]["storage"]
    claim, most = result["claim_of_ten_ms"], 5 if storage == "sqlite" else 10
    commit = result["settlement_of_one_ms"]
    what = f"a queue of {result['messages']:,} messages, {storage}"
    return [
        Row(
            f"{what}: claim of ten, commit included, p99",
            f"≤ {most} ms",
            f"{claim['p99']} ms, p50 {claim['p50']} (a settlement, the same: p50 {commit['p50']}, p99 {commit['p99']})",
            enough=claim["p99"] <= most,
        ),
        Row(f"{what}: start", "≤ 5 s", f"{result['start_seconds']} s", enough=result["start_seconds"] <= 5),
        Row(
            f"{what}: resident memory",
            "≤ 200 MiB",
            f"{result['resident_mib']} MiB",
            enough=result["resident_mib"] <= 200,
        ),
        Row(f"{what}: /metrics", "≤ 100 ms", f"{result['metrics_ms']} ms", enough=result["metrics_ms"] <= 100),
    ]


def _instances(document: Document) -> list[Row]:
    result = document["result"]
    return [
        Row(
            f"{result['instances']} instances on one PostgreSQL, {result['messages']:,} messages",
            "0 delivered twice",
            f"{result['duplicates']} twice; {result['delivered_per_s']} delivered/s",
            enough=result["duplicates"] == 0,
        )
    ]


def _limit(document: Document) -> list[Row]:
    result = document["result"]
    limit, each = result["limit_per_minute"], result["in_each_whole_minute"]
    return [
        Row(
            f"{result['instances']} instances under a limit of {limit} a minute, watched {result['watched_seconds']:.0f} s",
            f"never {limit + 1} in any 60 s; within 2 %",
            f"at most {result['most_in_any_minute']} in any 60 s; {', '.join(map(str, each))} in the whole minutes",
            enough=result["most_in_any_minute"] <= limit and min(each, default=0) >= 0.98 * limit,
        )
    ]


def _fairness(document: Document) -> list[Row]:
    result = document["result"]
    return [
        Row(
            f"{result['messages']} messages of a tenant beside {result['backlog_of_the_other']:,} of another, one account, "
            f"{document['parameters']['storage']}, median of {result['times']}",
            "≤ 2 × alone",
            f"{result['beside_seconds']} s, alone {result['alone_seconds']} s: {result['ratio']} ×",
            enough=result["ratio"] <= 2,
        )
    ]


def _kills(document: Document) -> list[Row]:
    result = document["result"]
    held = result.get("held_after_three_deaths", 0)
    kept = f" ({held} held, after three deaths)" if held else ""
    return [
        Row(
            f"kill -9, {result['rounds']} rounds, {result['what']}, {result['storage']}",
            "0 lost; duplicates ≤ in flight at each kill",
            f"{result['lost']} lost of {result['promised']:,}{kept}; {result['duplicates']} duplicates, "
            f"{result['most_duplicates_of_a_kill']} by one kill at most; in flight at all kills "
            f"{result['in_flight_at_all_kills']} at most",
            enough=result["lost"] == 0 and result["kills_with_more_duplicates_than_in_flight"] == 0,
        )
    ]


def _connections(document: Document) -> list[Row]:
    result = document["result"]
    return [
        Row(
            f"{result['connections']} connections, each 256 KiB into a message of 25 MB",
            "≤ 200 MB",
            f"{result['held_mib']} MiB (idle {result['idle_mib']})",
            enough=result["held_mib"] <= 200,
        )
    ]


READERS: tuple[tuple[str, Callable[[Document], list[Row]]], ...] = (
    ("throughput", _throughput),
    ("rest", _rest),
    ("latency", _latency),
    ("queue", _queue),
    ("instances", _instances),
    ("limit", _limit),
    ("fairness", _fairness),
    ("connections", _connections),
    ("kills", _kills),
)
"""By the beginning of the document's name, in the order of the table."""

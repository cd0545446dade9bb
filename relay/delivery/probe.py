"""Probe: an account tested for real, up to AUTH, without a mail."""

from __future__ import annotations

from relay.contracts.directory import ProbeResult
from relay.delivery.connection import ConnectFailed, Connector
from relay.delivery.timeouts import Timeouts
from relay.model.delivery import Phase
from relay.model.tenant import Account, AccountKind

PATIENCE = Timeouts(connect=10, greeting=15)
"""Shorter than a mail's: somebody waits for the answer."""


class Probe:
    """Satisfies contracts.AccountProbe."""

    def __init__(self, connector: Connector, timeouts: Timeouts = PATIENCE) -> None:
        self._connector = connector
        self._timeouts = timeouts

    async def probe(self, account: Account) -> ProbeResult:
        """Connect, secure, authenticate, QUIT."""
        if account.kind is AccountKind.CAPTURE:
            return ProbeResult(True, "capture", "keeps mail and connects to nothing")
        try:
            connection = await self._connector.connect(account, self._timeouts)
        except ConnectFailed as failed:
            return ProbeResult(False, failed.fault.phase.value, failed.fault.detail)
        connection.dialogue.goodbye(self._timeouts.quit)
        phase = Phase.EHLO if account.user is None else Phase.AUTH
        secured = connection.tls or "without TLS"
        who = "without authentication" if account.user is None else f"authenticated as {account.user}"
        return ProbeResult(True, phase.value, f"connected to {connection.peer}, {secured}, {who}")

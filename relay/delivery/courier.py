"""Courier: the story of one attempt, from the connection to what each recipient was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relay.clock import Clock
from relay.contracts.content import ContentStore
from relay.delivery.connection import ConnectFailed
from relay.delivery.pool import Pool
from relay.delivery.transaction import Transaction
from relay.delivery.transcript import Transcript
from relay.model.delivery import Attempt, LeasedDelivery, Phase, RecipientOutcome, Verdict
from relay.model.reply_rule import ReplyRule
from relay.model.tenant import Account, AccountKind


class Courier:
    """Makes attempts. It never raises for what the network does: that is an Attempt with outcomes or a fault.

    What does come out is an error of ours: NotFound or StoreUnavailable from the content store, LeaseRanOut. An attempt
    cancelled after the final dot ends with its Attempt (UNKNOWN, or what the server has said by then) instead of
    CancelledError.
    """

    def __init__(self, pool: Pool, contents: ContentStore, clock: Clock, rules: Sequence[ReplyRule] = ()) -> None:
        """`rules` are the operator's, for replies that mean something else here."""
        self._pool = pool
        self._contents = contents
        self._clock = clock
        self._rules = rules

    async def deliver(
        self, delivery: LeasedDelivery, account: Account, is_ours: Callable[[], bool] = lambda: True
    ) -> Attempt:
        """One attempt for the delivery's recipients by this account as it is now; `is_ours`: asked before the final dot."""
        started_at = self._clock.now()
        if account.kind is AccountKind.CAPTURE:
            return self._capture(delivery, started_at)
        next_hop = f"{account.host}:{account.port}"
        transcript = Transcript()
        try:
            connection = self._pool.take(account) or await self._pool.open(account, transcript)
            while True:
                reused = connection.messages > 0
                transaction = Transaction(
                    connection, delivery, self._contents, self._pool.timeouts, self._rules, is_ours
                )
                connection.messages += 1
                connection.dialogue.transcript = transcript
                await transaction.run()
                if transaction.is_clean:
                    self._pool.give_back(connection)
                else:
                    self._pool.retire(connection)
                if not (reused and transaction.is_stale):
                    break
                connection = await self._pool.open(account, transcript)
        except ConnectFailed as failed:
            transcript.failed(failed.fault.detail)
            now, lines = self._clock.now(), transcript.lines()
            return Attempt((), started_at, now, next_hop, fault=failed.fault, transcript=lines)
        if transaction.fault is not None:
            transcript.failed(transaction.fault.detail)
        return Attempt(
            transaction.outcomes,
            started_at,
            self._clock.now(),
            next_hop,
            connection.peer,
            connection.tls,
            reused,
            transaction.fault,
            transcript.lines(),
        )

    async def close(self) -> None:
        """Say QUIT on the connections kept. To be called when no attempt runs any more."""
        await self._pool.close()

    def _capture(self, delivery: LeasedDelivery, started_at: int) -> Attempt:
        """Kept, never sent: no network."""
        outcomes = tuple(
            RecipientOutcome(recipient.position, Verdict.CAPTURED, None, phase=Phase.DOT)
            for recipient in delivery.recipients
        )
        return Attempt(outcomes, started_at, self._clock.now(), "capture")

"""Parts behind the REST door that keep everything in memory: what the door is tested against where no store is needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.contracts.archive import Acted, ActedOnAll, MessageFilter, QueueCounts
from relay.contracts.commands import CommandFilter
from relay.contracts.content import ContentWriter
from relay.contracts.directory import NewToken, ProbeResult
from relay.contracts.feed import FeedFilter, FeedPage
from relay.contracts.queue import Accepted
from relay.contracts.suspensions import BatchStanding
from relay.errors import Conflict, NotFound, Refusal, Rejected, RelayError
from relay.intake.refused import Refused
from relay.intake.submission import Submission
from relay.model.act import Act, WhyNot
from relay.model.bounce_mailbox import NO_BOUNCE_MAILBOX, BounceMailbox
from relay.model.client_side import NO_CLIENT_SIDE, ClientSide
from relay.model.command import Command
from relay.model.delivery import Attempt, Category, Phase, RecipientOutcome, Verdict, new_recipients
from relay.model.event import Event, EventKind
from relay.model.explanation import (
    DeliveryExplanation,
    DeliveryStanding,
    LimitStanding,
    Reason,
    ReasonKind,
    WindowStanding,
)
from relay.model.instance import Instance
from relay.model.limit import Limits
from relay.model.message import (
    DeliveryState,
    Message,
    MessageDetail,
    MessageState,
    Priority,
    QueueId,
    Recipient,
    RecipientState,
)
from relay.model.reply import Reply
from relay.model.suppression import Found, Imported, Suppression, SuppressionFilter, against
from relay.model.tenant import Account, Credential, Tenant, Token

NOW = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


@dataclass
class Archive:
    """Messages, newest last."""

    details: list[MessageDetail] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageDetail]:
        """By tenant, state, batch, client id and cursor."""
        found = [
            one
            for one in reversed(self.details)
            if wanted.tenant in {None, one.message.tenant}
            and (not wanted.states or one.message.state in wanted.states)
            and wanted.batch in {None, one.message.batch}
            and wanted.client_id in {None, one.message.client_id}
            and (wanted.before is None or one.message.id < wanted.before)
        ]
        return found[: wanted.limit]

    async def message(self, tenant: str | None, message: QueueId) -> MessageDetail:
        """One."""
        for one in self.details:
            if one.message.id == message and tenant in {None, one.message.tenant}:
                return one
        raise NotFound("no such message")

    async def events(self, tenant: str | None, message: QueueId) -> Sequence[Event]:
        """One, that it was accepted."""
        found = (await self.message(tenant, message)).message
        return [Event(EventKind.ACCEPTED, found.accepted_at, found.tenant, found.id, facts={"size": found.size})]

    async def attempts(self, tenant: str | None, message: QueueId) -> Sequence[Attempt]:
        """One, that was refused."""
        await self.message(tenant, message)
        outcome = RecipientOutcome(0, Verdict.FAILED, Reply(550, "5.1.1", "no"), Category.MAILBOX, Phase.RCPT)
        return [Attempt((outcome,), NOW, NOW + 1000, "mx.example:25", "192.0.2.1", "TLSv1.3")]

    async def act(
        self, tenant: str | None, message: QueueId, act: Act, at: int, *, account: str | None = None
    ) -> Acted:
        """To all of it."""
        found = await self.message(tenant, message)
        cancelled = MessageState.CANCELLED
        if found.message.state is cancelled and act in {Act.CANCEL, Act.HOLD, Act.REROUTE}:
            raise Conflict("its state forbids it")
        if act is Act.DELETE:
            self.details.remove(found)
            return Acted(found, 1, 0)
        state, to = (
            (cancelled, RecipientState.CANCELLED) if act is Act.CANCEL else (MessageState.OPEN, RecipientState.QUEUED)
        )
        changed = MessageDetail(
            replace(found.message, state=state), tuple(replace(one, state=to) for one in found.recipients)
        )
        self.details[self.details.index(found)] = changed
        return Acted(changed, len(changed.recipients), 0)

    async def act_on_all(
        self, wanted: MessageFilter, act: Act, at: int, *, account: str | None = None, dry_run: bool = False
    ) -> ActedOnAll:
        """Only counted."""
        found = await self.list_messages(wanted)
        return ActedOnAll(len(found), 0, {WhyNot.NOTHING: len(found)}, None)

    async def deliveries(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryStanding]:
        """One, due now."""
        found = await self.message(tenant, message)
        addresses = tuple(one.address for one in found.recipients)
        key = f"a/main/{found.message.tenant}"
        return [DeliveryStanding(f"{message}.1", key, DeliveryState.READY, NOW, 0, None, None, addresses)]

    async def explain(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryExplanation]:
        """It waits for its turn."""
        [delivery] = await self.deliveries(tenant, message)
        return [DeliveryExplanation(delivery, None, (Reason(ReasonKind.TURN, "its turn"),), NOW)]

    async def counts(self) -> Sequence[QueueCounts]:
        """One queue."""
        return [QueueCounts("a/main/a", len(self.details), 0, 1, 0, NOW)]

    @property
    def small(self) -> int:
        """See ContentStore."""
        return 0

    def writer(self, message: QueueId) -> ContentWriter:
        """Not here."""
        raise NotImplementedError

    async def read(self, message: QueueId) -> AsyncIterator[bytes]:
        """The content in small pieces."""
        if message not in self.contents:
            raise NotFound("its content is gone")
        content = self.contents[message]
        for start in range(0, len(content), 100):
            yield content[start : start + 100]


@dataclass
class RecordingIntake:
    """Accepts everything at once and keeps it; raises `refuse` where that is set."""

    archive: Archive
    submissions: list[Submission] = field(default_factory=list)
    refuse: RelayError | None = None
    refused: list[Refused] = field(default_factory=list)
    break_with: Exception | None = None
    closed: Rejected | None = None
    max_size: int = 1_000_000
    max_recipients: int = 1000
    keys: dict[tuple[str, str], tuple[str | None, QueueId]] = field(default_factory=dict)

    def check_admission(self) -> None:
        """Open, unless `closed`."""
        if self.closed:
            raise self.closed

    async def accept(self, submission: Submission) -> Accepted:
        """Read the content, keep it all."""
        if self.refuse is not None:
            raise self.refuse
        if self.break_with is not None:
            raise self.break_with
        content = bytearray()
        async for piece in submission.content:
            content += piece
            if len(content) > self.max_size:
                raise Rejected(Refusal.TOO_BIG, str(self.max_size))
        controls, tenant = submission.controls, submission.principal.tenant
        digest = None
        if controls.idempotency_key is not None:
            digest = submission.digest or str(hash(bytes(content)))
            known, old = self.keys.get((tenant, controls.idempotency_key), (None, QueueId("")))
            if known is not None:
                if known != digest:
                    raise Rejected(Refusal.IDEMPOTENCY_MISMATCH)
                return Accepted(old, replayed=True)
        self.submissions.append(submission)
        queue_id = QueueId(f"q{len(self.submissions):06d}")
        if controls.idempotency_key is not None:
            self.keys[tenant, controls.idempotency_key] = (digest, queue_id)
        self.archive.contents[queue_id] = bytes(content)
        self.archive.details.append(
            MessageDetail(_message(submission, queue_id, len(content)), _recipients(submission))
        )
        return Accepted(queue_id)

    async def keep_refused(self, refused: Refused) -> bool:
        """Kept apart."""
        self.refused.append(refused)
        return True

    def content(self, number: int = -1) -> bytes:
        """Of the n-th submission."""
        return self.archive.contents[self.archive.details[number].message.id]


def _recipients(submission: Submission) -> tuple[Recipient, ...]:
    return new_recipients(submission.envelope.recipients)


def _message(submission: Submission, queue_id: QueueId, size: int) -> Message:
    controls = submission.controls
    return Message(
        id=queue_id,
        tenant=submission.principal.tenant,
        sender=submission.envelope.sender,
        priority=Priority.MEDIUM if controls.priority is None else controls.priority,
        accepted_at=NOW,
        size=size,
        message_id=f"<{queue_id}@test.example>",
        source=submission.source,
        account=controls.account or "main",
        client_id=controls.client_id,
        batch=controls.batch,
        not_before=controls.not_before,
        expires_at=controls.expires_at,
        tags=controls.tags,
        metadata=controls.metadata,
    )


@dataclass
class MemoryDirectory:
    """Tenants and what they own."""

    settings: Instance = field(default_factory=Instance)
    by_tenant: dict[str, Tenant] = field(default_factory=dict)
    by_account: dict[tuple[str, str], Account] = field(default_factory=dict)
    by_username: dict[str, Credential] = field(default_factory=dict)
    by_hash: dict[str, Token] = field(default_factory=dict)
    mended: int = 0

    async def instance(self) -> Instance:
        """The settings."""
        return self.settings

    async def change_instance(self, change: Callable[[Instance], Instance]) -> Instance:
        """The settings."""
        self.settings = change(self.settings)
        return self.settings

    async def tenant(self, tenant: str) -> Tenant:
        """By id."""
        if tenant not in self.by_tenant:
            raise NotFound(f"no such tenant: {tenant}")
        return self.by_tenant[tenant]

    async def tenants(self) -> Sequence[Tenant]:
        """All."""
        return sorted(self.by_tenant.values(), key=lambda one: one.id)

    async def add_tenant(self, tenant: Tenant, first: NewToken | None = None) -> None:
        """A new one."""
        if tenant.id in self.by_tenant:
            raise Conflict(f"tenant exists: {tenant.id}")
        self.by_tenant[tenant.id] = tenant
        if first is not None:
            await self.add_token(*first)

    async def note_mended(self) -> None:
        """An account was found in order."""
        self.mended += 1

    async def change_tenant(self, tenant: str, change: Callable[[Tenant], Tenant]) -> Tenant:
        """By id."""
        changed = self.by_tenant[tenant] = change(await self.tenant(tenant))
        return changed

    async def delete_tenant(self, tenant: str) -> None:
        """By id."""
        await self.tenant(tenant)
        del self.by_tenant[tenant]

    async def set_default_account(self, tenant: str, account: str) -> None:
        """Of a tenant."""
        self.by_tenant[tenant] = replace(self.by_tenant[tenant], default_account=account)

    async def account(self, tenant: str, account: str | None) -> Account | None:
        """The tenant's own, else the instance's; None is its default."""
        account = account or self.by_tenant[tenant].default_account
        return self.by_account.get((tenant, account or "")) or self.by_account.get(("*", account or ""))

    async def owned_account(self, owner: str, account: str) -> Account:
        """Exactly this owner's."""
        if (owner, account) not in self.by_account:
            raise NotFound(f"no such account: {account}")
        return self.by_account[owner, account]

    async def accounts(self, owner: str | None) -> Sequence[Account]:
        """Of an owner, or all."""
        return [one for one in self.by_account.values() if owner in {None, one.tenant}]

    async def add_account(self, account: Account, *, default: bool) -> None:
        """A new one."""
        if (account.tenant, account.id) in self.by_account:
            raise Conflict(f"account exists: {account.id}")
        self.by_account[account.tenant, account.id] = account
        if default and account.tenant in self.by_tenant:
            await self.set_default_account(account.tenant, account.id)

    async def change_account(self, owner: str, account: str, change: Callable[[Account], Account]) -> Account:
        """Exactly this owner's."""
        changed = self.by_account[owner, account] = change(await self.owned_account(owner, account))
        return changed

    async def delete_account(self, owner: str, account: str) -> None:
        """Exactly this owner's."""
        await self.owned_account(owner, account)
        del self.by_account[owner, account]

    generation = -1

    async def credential(self, username: str) -> Credential | None:
        """By user name."""
        return self.by_username.get(username)

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        """Of a tenant, or all."""
        return [one for one in self.by_username.values() if tenant in {None, one.tenant}]

    async def add_credential(self, credential: Credential) -> None:
        """A new one."""
        if credential.username in self.by_username:
            raise Conflict(f"user name is taken: {credential.username}")
        self.by_username[credential.username] = credential

    async def change_credential(
        self, tenant: str | None, username: str, change: Callable[[Credential], Credential]
    ) -> Credential:
        """By user name."""
        found = self.by_username.get(username)
        if found is None or tenant not in {None, found.tenant}:
            raise NotFound(f"no such credential: {username}")
        changed = self.by_username[username] = change(found)
        return changed

    async def delete_credential(self, tenant: str | None, username: str) -> None:
        """By user name."""
        found = self.by_username.get(username)
        if found is None or tenant not in {None, found.tenant}:
            raise NotFound(f"no such credential: {username}")
        del self.by_username[username]

    async def token(self, secret_hash: str) -> Token | None:
        """By hash."""
        return self.by_hash.get(secret_hash)

    async def tokens(self, tenant: str | None) -> Sequence[Token]:
        """Of a tenant, or all."""
        return [one for one in self.by_hash.values() if tenant in {None, one.tenant}]

    async def add_token(self, token: Token, secret_hash: str) -> None:
        """A new one."""
        self.by_hash[secret_hash] = token

    async def change_token(self, tenant: str | None, token: str, change: Callable[[Token], Token]) -> Token:
        """By id."""
        for secret_hash, one in self.by_hash.items():
            if one.id == token and tenant in {None, one.tenant}:
                changed = self.by_hash[secret_hash] = change(one)
                return changed
        raise NotFound(f"no such token: {token}")

    async def rotate_token(self, tenant: str | None, token: str, secret_hash: str, previous_until: int) -> Token:
        """By id; the old secret goes on expiring then."""
        found = await self.change_token(tenant, token, lambda one: replace(one, expires_at=previous_until))
        self.by_hash[secret_hash] = replace(found, expires_at=None)
        return found

    def token_used(self, token: str, at: int) -> None:
        """Not kept."""

    async def revoke_token(self, tenant: str | None, token: str) -> None:
        """By id."""
        for secret_hash, one in list(self.by_hash.items()):
            if one.id == token and tenant in {None, one.tenant}:
                del self.by_hash[secret_hash]
                return
        raise NotFound(f"no such token: {token}")


@dataclass
class Suspensions:
    """Kept with the tenants; nothing waits."""

    directory: MemoryDirectory

    async def suspend(self, tenant: str, batch: str | None, at: int) -> int:
        """A row."""
        return await self._put(tenant, {batch or "": True})

    async def resume(self, tenant: str, batch: str | None, at: int, *, everything: bool = False) -> int:
        """The same."""
        return await self._put(tenant, {batch or "": False})

    async def _put(self, tenant: str, said: dict[str, bool]) -> int:
        found = await self.directory.tenant(tenant)
        self.directory.by_tenant[tenant] = replace(found, suspensions={**found.suspensions, **said})
        return 0

    async def batches(self, tenant: str, after: str, limit: int) -> Sequence[BatchStanding]:
        """Those of which something was said."""
        found = await self.directory.tenant(tenant)
        names = sorted(name for name in found.suspensions if name > after)[:limit]
        return [BatchStanding(tenant, name, found.suspends(name), {MessageState.OPEN: 1}) for name in names]

    async def finish(self) -> None:
        """Nothing is left."""


class MemoryLimits:
    """One is under way, under each."""

    async def standings(self, limits: Mapping[str, Limits]) -> Sequence[LimitStanding]:
        """By the minute alone."""
        return [
            LimitStanding(key, 1, NOW if one.per_minute == 1 else None, (WindowStanding("minute", one.per_minute, 1),))
            for key, one in limits.items()
            if one.per_minute is not None
        ]


@dataclass
class MemorySuppressions:
    """Lists of the tenants that there are."""

    directory: MemoryDirectory
    entries: dict[tuple[str, str], Suppression] = field(default_factory=dict)

    async def find(self, tenant: str, addresses: Sequence[str]) -> Found:
        """By address and domain."""
        return against(addresses, {address: one for (of, address), one in self.entries.items() if of == tenant})

    async def suppressions(self, wanted: SuppressionFilter) -> Sequence[Suppression]:
        """By reason, beginning and cursor."""
        found = [
            one
            for (tenant, address), one in sorted(self.entries.items())
            if tenant == wanted.tenant
            and address > wanted.after
            and address.startswith(wanted.prefix)
            and wanted.reason in {None, one.reason}
        ]
        return found[: wanted.limit]

    async def suppression(self, tenant: str, address: str) -> Suppression:
        """Exactly this."""
        if (tenant, address) not in self.entries:
            raise NotFound(f"{address} is not there")
        return self.entries[tenant, address]

    async def put(self, tenant: str, entries: Sequence[Suppression]) -> Imported:
        """One after the other."""
        await self.directory.tenant(tenant)
        added = len({one.address for one in entries} - {address for of, address in self.entries if of == tenant})
        self.entries |= {(tenant, one.address): one for one in entries}
        return Imported(added, 0, len(entries) - added)

    async def remove(self, tenant: str, address: str) -> None:
        """Exactly this."""
        await self.suppression(tenant, address)
        del self.entries[tenant, address]


class Probe:
    """Finds every account well, but those at `bad.example`."""

    async def probe(self, account: Account) -> ProbeResult:
        """Well, or not."""
        return ProbeResult(account.host != "bad.example", "auth", f"{account.host} accepts")


@dataclass
class MemoryCommands:
    """A command log."""

    kept: list[Command] = field(default_factory=list)

    async def record(self, command: Command) -> None:
        """One more."""
        self.kept.append(replace(command, sequence=len(self.kept) + 1))

    async def commands(self, wanted: CommandFilter) -> Sequence[Command]:
        """Newest first."""
        found = [one for one in reversed(self.kept) if wanted.tenant in {None, one.tenant}]
        return [one for one in found if wanted.before is None or one.sequence < wanted.before][: wanted.limit]

    async def remove_before(self, horizon: int) -> int:
        """By time."""
        before = len(self.kept)
        self.kept = [one for one in self.kept if one.at >= horizon]
        return before - len(self.kept)


class MemoryFeed:
    """One event of each of two tenants."""

    async def newest(self) -> int:
        """Behind both."""
        return 2

    def watch(self, event: asyncio.Event) -> contextlib.AbstractContextManager[None]:
        """Nothing ever comes."""
        return contextlib.nullcontext()

    async def page(self, wanted: FeedFilter) -> FeedPage:
        """By tenant, kind, message and cursor."""
        found = [
            Event(EventKind.SENT, NOW, tenant, QueueId(f"q-{tenant}"), f"x@{tenant}.canary.example", {}, number)
            for number, tenant in enumerate(("a", "b"), 1)
            if wanted.tenant in {None, tenant}
            and wanted.kind in {None, EventKind.SENT}
            and wanted.message in {None, f"q-{tenant}"}
            and number > wanted.after
        ][: wanted.limit]
        return FeedPage(found, found[-1].sequence if found else wanted.after, more=False)


@dataclass
class MemoryClientSides:
    """Client sides."""

    directory: MemoryDirectory
    by_tenant: dict[str, ClientSide] = field(default_factory=dict)

    async def client_side(self, tenant: str) -> ClientSide:
        """By tenant."""
        return self.by_tenant.get(tenant, NO_CLIENT_SIDE)

    async def client_sides(self) -> Mapping[str, ClientSide]:
        """All."""
        return self.by_tenant

    async def change_client_side(self, tenant: str, change: Callable[[ClientSide], ClientSide]) -> ClientSide:
        """By tenant."""
        await self.directory.tenant(tenant)
        changed = self.by_tenant[tenant] = change(await self.client_side(tenant))
        return changed


@dataclass
class MemoryBounceMailboxes:
    """One."""

    mailbox: BounceMailbox = NO_BOUNCE_MAILBOX

    async def bounce_mailbox(self) -> BounceMailbox:
        """It."""
        return self.mailbox

    async def change_bounce_mailbox(self, change: Callable[[BounceMailbox], BounceMailbox]) -> BounceMailbox:
        """It."""
        self.mailbox = change(self.mailbox)
        return self.mailbox

"""First start: what an empty store is given, so that the first minute works and no mail leaves by accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.clock import Clock
from relay.contracts.directory import Directory
from relay.model.tenant import DEFAULT_TENANT, Account, AccountKind, Tenant, Token
from relay.secrets import generate_token, token_hash

CAPTURE_ACCOUNT = "capture"


async def make_default_tenant(directory: Directory, clock: Clock) -> None:
    """The tenant `default`, and its account `capture`, by which its mail goes until there is another."""
    now = clock.now()
    await directory.add_tenant(Tenant(DEFAULT_TENANT, "Default", None, now))
    capture = Account(DEFAULT_TENANT, CAPTURE_ACCOUNT, AccountKind.CAPTURE, created_at=now)
    await directory.add_account(capture, default=True)


async def make_admin_token(directory: Directory, clock: Clock) -> str | None:
    """An admin token where there is none: its secret, to be shown once; else None."""
    if any(token.is_admin for token in await directory.tokens(None)):
        return None
    token_id, secret = generate_token()
    await directory.add_token(Token(token_id, "admin", None, created_at=clock.now()), token_hash(secret))
    return secret


@dataclass(frozen=True, slots=True)
class Banner:
    """What `stagepost serve` says once it is ready: where to point an application, and what to do next."""

    version: str
    smtp: Sequence[str]
    api: Sequence[str]
    """URLs."""
    store: str
    loopback_tenant: str
    admin_token: str | None

    def __str__(self) -> str:
        host, _, port = self.smtp[0].rpartition(":") if self.smtp else ("-", "", "-")
        login = (
            f'no login needed on this machine: tenant "{self.loopback_tenant}"'
            if self.loopback_tenant
            else "login needed"
        )
        lines = [
            f"Stagepost {self.version} is ready.",
            f"  SMTP   {', '.join(self.smtp) or 'off'}   ({login})",
            f"  REST   {', '.join(self.api) or 'off'}",
            f"  store  {self.store}",
        ]
        if self.admin_token:
            lines += [
                "",
                f"Admin token, shown this once: {self.admin_token}",
                "",
                f"1. Point an application at SMTP host {host}, port {port}, no encryption, no login; or send a test mail:",
                "     printf 'Subject: Hello\\n\\nIt works.\\n' |",
                "       stagepost send - --from me@example.com --to you@example.com",
                "2. Look at it. The account `capture` keeps mail and never sends it:",
                "     stagepost messages list",
                "3. Add a real way out when you are ready; mail goes there from then on:",
                "     stagepost accounts add main --tenant default --host smtp.example.com --port 587 --tls starttls \\",
                "       --user me@example.com --password-stdin --default",
            ]
        return "\n".join(lines)

"""The scripted server, seen by a client that is not ours: what the other tests rely on."""

from __future__ import annotations

import asyncio
import json
import smtplib
import sys
from pathlib import Path

import pytest

from tests.support.smtp_server import SmtpServer

ROOT = Path(__file__).parents[2]


def _send(port: int, content: bytes) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port) as client:
        return client.sendmail("a@sender.test", ["b@receiver.test", "no@receiver.test"], content)


@pytest.mark.parametrize("content", [b"a\r\n", b".\r\n..\r\n", b"x\r\n.\r\ny\r\n", b"\r\n" * 200_000 + b"end\r\n"])
async def test_it_records_what_it_gets(server: SmtpServer, content: bytes) -> None:
    server.to("no@receiver.test", "550 5.1.1 no")

    refused = await asyncio.to_thread(_send, server.port, content)

    [message] = await server.wait_for(1)
    assert message.content == content
    assert message.recipients == ("b@receiver.test",)
    assert message.answer == 250
    assert list(refused) == ["no@receiver.test"]


async def test_as_a_process_it_logs_before_it_answers(tmp_path: Path) -> None:
    log = tmp_path / "received.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.smtp_server", "--log", str(log), "--rcpt", "no@receiver.test=550 5.1.1 no",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            port = int(await process.stdout.readline())
        await asyncio.to_thread(_send, port, b"Subject: one\r\n\r\nbody\r\n")
        [line] = log.read_text().splitlines()  # a small local file
    finally:
        process.terminate()
        async with asyncio.timeout(10):
            await process.wait()

    assert json.loads(line)["recipients"] == ["b@receiver.test"]
    assert json.loads(line)["head"] == "Subject: one"
    assert process.returncode == 0

"""Attachments as genro-mail-proxy has them: a file name, and a path that says by its form where the file comes from."""

from __future__ import annotations

import mimetypes
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import Strict

_INLINE = "base64:"
_MARKER = re.compile(r"\{MD5:[0-9a-fA-F]+\}")
_BLANKS = str.maketrans("", "", " \t\r\n")
_MD5 = Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")]

FetchMode = Literal["endpoint", "http_url", "base64", "filesystem"]


class GenroAuthIn(Strict):
    """How to show who fetches."""

    method: Literal["none", "bearer", "basic"] = "none"
    token: str | None = Field(default=None, repr=False)
    user: str | None = None
    password: str | None = Field(default=None, repr=False)


def _mode(path: str) -> FetchMode:
    """What the form of a path says, where nothing else does."""
    if path.startswith(_INLINE):
        return "base64"
    if path.startswith(("http://", "https://")):
        return "http_url"
    return "filesystem" if path.startswith("/") else "endpoint"


def _is_known(media_type: str) -> str:
    if len(media_type) > 255:
        raise ValueError("is longer than 255 characters")
    return media_type


@example({"filename": "invoice.pdf", "storage_path": "base64:JVBERi0xLjcK"})
class GenroAttachmentIn(Strict):
    """A file. `base64` stands in the message itself; the other places are not fetched from yet."""

    filename: str = Field(min_length=1, max_length=255)
    """As the recipient sees it, without a marker `{MD5:…}`."""
    storage_path: str = Field(min_length=1)
    """The file in base64, after `base64:` or with that `fetch_mode`."""
    fetch_mode: FetchMode | None = None
    """Else the form of the path says it."""
    mime_type: Annotated[str, AfterValidator(_is_known)] | None = None
    """Else the file name's ending says it."""
    content_md5: _MD5 | None = None
    """A name for what is fetched; nothing is, so it names nothing."""
    auth: GenroAuthIn | None = None
    """For what is fetched."""

    def attachment(self) -> dict[str, Any]:
        """The members of ours; ValueError where the file cannot be had."""
        mode = self.fetch_mode or _mode(self.storage_path)
        if mode != "base64":
            raise ValueError(f"fetch_mode {mode} is not supported: send the file itself, as base64")
        name = clean_name(self.filename)
        if self.mime_type and "/" in self.mime_type:
            media_type = self.mime_type
        else:
            media_type = mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
        return {"filename": name, "content": _padded(self.storage_path), "content_type": media_type}


def _padded(path: str) -> str:
    """The base64 of a file with its padding made good; ValueError where it is empty. What else is wrong our reader finds."""
    text = path.removeprefix(_INLINE).translate(_BLANKS).rstrip("=")
    if not text:
        raise ValueError("is empty")
    return text + "=" * (-len(text) % 4)


def clean_name(name: str) -> str:
    """A file name without its marker, and without the traces that the marker leaves."""
    if not _MARKER.search(name):
        return name
    return re.sub(r"_+", "_", _MARKER.sub("", name)).strip("_").replace("_.", ".")

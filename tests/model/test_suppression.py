"""Suppression: the normal form in which addresses are held against each other."""

from __future__ import annotations

import pytest

from relay.model.suppression import Suppression, SuppressionReason, against, keys_of, read_suppressed


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ann@example.net", "ann@example.net"),
        ("Ann.O'Neil+News@Example.NET", "ann.o'neil+news@example.net"),
        ("ann@XN--BCHER-KVA.example", "ann@bücher.example"),
        ("ann@Bücher.example", "ann@bücher.example"),
        ("ann@bu\N{COMBINING DIAERESIS}cher.example", "ann@bücher.example"),
        ("ann@straße.example", "ann@straße.example"),
        ("ann@strasse.example", "ann@strasse.example"),
        ("ann@xn--strae-oqa.example", "ann@straße.example"),
        ("ann@xn--a.example", "ann@xn--a.example"),
        ("ann@xn---.example.net", "ann@xn---.example.net"),
        ("JÖRG@example.net", "jörg@example.net"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("@Example.NET", "@example.net"),
        ("@xn--bcher-kva.example", "@bücher.example"),
    ],
)
def test_one_address_has_one_form(written: str, normal: str) -> None:
    if "xn---" not in written:
        assert read_suppressed(written) == normal
        assert read_suppressed(normal) == normal
    if not written.startswith("@"):
        assert keys_of(written) == (normal, normal[normal.rindex("@") :])


@pytest.mark.parametrize(
    "text", ["", "ann", "@", "@a@b", "ann@", "a b@example.net", "@exa mple.net", "<a@b.example>", "a@b\0.example"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|local-part|domain"):
        read_suppressed(text)


def entry(address: str, reason: SuppressionReason = SuppressionReason.MANUAL) -> Suppression:
    return Suppression("acme", address, reason, 0)


def test_a_word_on_the_address_goes_before_one_on_its_domain() -> None:
    whole, one = entry("@b.example"), entry("ann@b.example", SuppressionReason.COMPLAINT)
    found = against(["Ann@B.example", "bob@b.example", "ann@sub.b.example"], {whole.address: whole, one.address: one})
    assert found == {"Ann@B.example": one, "bob@b.example": whole}

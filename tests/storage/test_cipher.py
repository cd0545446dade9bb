"""Keys and secrets at rest: what is refused, and that it says what to do."""

from __future__ import annotations

import secrets
from base64 import b64encode
from pathlib import Path

import pytest

from relay.errors import StoreError
from relay.model.tenant import Account, AccountKind
from storage.cipher import Cipher, key_id_of, make_keys, read_keys
from tests.storage.conftest import Open, furnish
from tests.storage.mail import TENANT

PLACE = ("accounts", "password", "acme", "main")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "key"


def line(key_id: str) -> str:
    return f"{key_id} {b64encode(secrets.token_bytes(32)).decode()}\n"


def read(file: Path) -> Cipher:
    cipher = read_keys(file)
    assert cipher is not None
    return cipher


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def test_a_secret_opens_in_its_place_alone(file: Path) -> None:
    cipher = make_keys(file)
    sealed = cipher.seal("sécret", *PLACE)
    assert "sécret" not in sealed
    assert sealed != cipher.seal("sécret", *PLACE)  # a nonce of its own
    assert read(file).open(sealed, *PLACE) == "sécret"
    for at in range(len(PLACE)):
        moved = [*PLACE]
        moved[at] = "elsewhere"
        with pytest.raises(StoreError, match="does not open"):
            cipher.open(sealed, *moved)
    with pytest.raises(StoreError, match="does not open"):
        cipher.open(sealed[:-4] + "AAAA", *PLACE)


def test_the_file_is_its_owners_alone(file: Path) -> None:
    make_keys(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    before = file.read_bytes()
    assert make_keys(file).key_id == read(file).key_id  # never over an old one
    assert file.read_bytes() == before


def test_no_repr_shows_a_key(file: Path) -> None:
    cipher = make_keys(file)
    key = file.read_text().split()[1]
    assert key not in repr(cipher) + repr(vars(cipher))


def test_the_first_line_encrypts_and_all_decrypt(file: Path) -> None:
    old = line("old")
    write(file, old)
    sealed = read(file).seal("secret", *PLACE)
    write(file, f"# changed in spring\n{line('new')}\n{old}")
    cipher = read(file)
    assert cipher.open(sealed, *PLACE) == "secret"
    assert key_id_of(cipher.seal("secret", *PLACE)) == "new"


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("k1 short\n", 0o600, "line 1 is not"),
        (f"k1\n{line('k2')}", 0o600, "line 1 is not"),
        ("", 0o600, "holds no key"),
        ("# nothing\n", 0o600, "holds no key"),
        (line("k1"), 0o640, "chmod 600"),
        (line("k1"), 0o604, "chmod 600"),
    ],
    ids=["short key", "no key on a line", "empty", "a comment alone", "group may read", "others may read"],
)
def test_a_file_that_cannot_be_used(file: Path, text: str, mode: int, says: str) -> None:
    write(file, text, mode)
    with pytest.raises(StoreError, match=says):
        read_keys(file)


async def test_a_new_store_makes_its_key_and_keeps_to_it(opened: Open, tmp_path: Path) -> None:
    store = await opened()
    assert store.is_new
    await furnish(store)
    await store.close()
    key = (tmp_path / "key").read_text()
    (tmp_path / "key").unlink()
    with pytest.raises(StoreError, match="put the key file that belongs to this store there"):
        await opened()
    assert not (tmp_path / "key").exists()
    write(tmp_path / "key", line("other"))
    with pytest.raises(StoreError, match="put the key file that belongs to this store there"):
        await opened()
    write(tmp_path / "key", key)
    assert not (await opened()).is_new


async def test_a_key_is_changed_by_a_line_on_top(opened: Open, tmp_path: Path) -> None:
    store = await opened()
    await furnish(store)

    async def add(name: str) -> None:
        account = Account(TENANT, name, AccountKind.SMTP, "h", user="u", password=f"of {name}")
        await store.directory.add_account(account, default=False)

    await add("one")
    await store.close()
    old = (tmp_path / "key").read_text()
    write(tmp_path / "key", line("new") + old)
    store = await opened()
    await add("two")
    for name in ("one", "two"):
        assert (await store.directory.owned_account(TENANT, name)).password == f"of {name}"
    await store.close()
    write(tmp_path / "key", (tmp_path / "key").read_text().splitlines(keepends=True)[0])
    with pytest.raises(StoreError, match="which is not in"):
        await opened()

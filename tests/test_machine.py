"""What the machine allows: shares of descriptors, memory and its limits, room on disk."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from relay import machine
from relay.machine import DESCRIPTOR_SHARE, Places, memory_limit, share_out


@pytest.mark.parametrize(
    ("descriptors", "wanted", "places"),
    [
        (65536, Places(1000, 500, 100), Places(1000, 500, 100)),
        (4096, Places(1000, 500, 100), Places(1000, 500, 100)),
        (1024, Places(1000, 500, 100), Places(265, 132, 26)),
        (256, Places(1000, 500, 100), Places(66, 33, 6)),
        (256, Places(20, 10, 5), Places(20, 10, 5)),
        (16, Places(1000, 500, 100), Places(4, 2, 1)),
        (1, Places(1000, 500, 100), Places(1, 1, 1)),
    ],
)
def test_descriptors_are_shared_out(descriptors: int, wanted: Places, places: Places) -> None:
    """Each door, and the attempts, get their part; with files in the spool it stays below the share."""
    assert share_out(descriptors, wanted) == places
    if descriptors > 16:
        assert 2 * (places.smtp + places.attempts) + places.api <= descriptors * DESCRIPTOR_SHARE


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        wanted = machine.MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, machine.MOST_DESCRIPTORS)
        assert machine.raise_descriptor_limit() == wanted
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_memory_in_use_grows_with_what_is_used_and_goes_back() -> None:
    machine.give_back_memory()  # else what other tests have left free inside the process would do
    before = machine.resident_memory()
    some = b"x" * (64 << 20)
    assert machine.resident_memory() - before > 48 << 20
    del some
    machine.give_back_memory()
    assert machine.resident_memory() - before < 16 << 20


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": "1000", "a/b/memory.max": "max"}, 1000),
        ("0::/a/b\n", {"a/memory.max": "1000", "a/b/memory.high": "900"}, 900),
        ("0::/\n", {"memory.max": "77"}, 77),
        ("4:cpu,memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "55"}, 55),
        ("0::/a\n", {"a/memory.max": "nonsense"}, None),
        ("0::/a\n", {}, None),
    ],
)
def test_the_cgroup_limits_memory(own: str, files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    found = memory_limit(tmp_path, tmp_path / "own")
    assert found == limit if limit else found > 1 << 26
    assert memory_limit(tmp_path, tmp_path / "nothing") > 1 << 26


def test_the_disk_has_room(tmp_path: Path) -> None:
    assert machine.free_space(tmp_path) > 0

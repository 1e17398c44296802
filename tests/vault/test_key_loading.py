"""Where master keys come from, and every way in which that is refused."""

import base64
import os
import stat
from pathlib import Path

import pytest

from posthorn.errors import StartRefused
from posthorn.vault import KeyRing, key_id, load_key_ring, new_master_key

FIRST = base64.b64encode(bytes(range(32))).decode()
SECOND = base64.b64encode(bytes(range(200, 232))).decode()
FIRST_ID = key_id(bytes(range(32)))
SECOND_ID = key_id(bytes(range(200, 232)))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def from_file(path: Path, *, may_create: bool = False) -> KeyRing:
    return load_key_ring(key_file=path, environment_value=None, may_create=may_create)


def from_environment(value: str) -> KeyRing:
    return load_key_ring(key_file=Path("nowhere/master.key"), environment_value=value, may_create=True)


def test_a_missing_file_is_made_for_a_new_store_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    made = from_file(path, may_create=True)
    sealed = made.seal(b"value", context="c")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert from_file(path, may_create=True).open(sealed, context="c") == b"value"
    assert from_file(path, may_create=False).open(sealed, context="c") == b"value"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_the_made_file_is_private_and_ours_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        from_file(tmp_path / "master.key", may_create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600


def test_two_new_stores_get_different_keys(tmp_path: Path) -> None:
    one = from_file(tmp_path / "one", may_create=True)
    two = from_file(tmp_path / "two", may_create=True)
    assert one.key_ids != two.key_ids


def test_a_missing_file_of_a_store_with_sealed_data_refuses_the_start(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(StartRefused, match="the store has data sealed with a master key") as refused:
        from_file(path)
    assert str(path) in str(refused.value)
    assert "restore the file or set POSTHORN_MASTER_KEY" in str(refused.value)
    assert not path.exists()


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "master.key", "")
    with pytest.raises(StartRefused, match="holds no key"):
        from_file(path, may_create=True)
    assert path.read_text(encoding="utf-8") == ""


def test_the_first_line_seals_and_comments_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "k", f"# the new one\n\n  {SECOND}  \r\n  # the old one\n{FIRST}")
    assert from_file(path).key_ids == (SECOND_ID, FIRST_ID)


def test_the_environment_wins_over_the_file_and_makes_none(tmp_path: Path) -> None:
    path = write(tmp_path / "k", FIRST)
    ring = load_key_ring(key_file=path, environment_value=f"{SECOND}, {FIRST}", may_create=False)
    assert ring.key_ids == (SECOND_ID, FIRST_ID)
    absent = tmp_path / "absent"
    load_key_ring(key_file=absent, environment_value=SECOND, may_create=True)
    assert not absent.exists()


def test_base64url_and_missing_padding_are_read() -> None:
    raw = b"\xff\xfe" * 16
    plain = base64.b64encode(raw).decode()
    assert "/" in plain
    assert from_environment(plain).key_ids == (key_id(raw),)
    assert from_environment(base64.urlsafe_b64encode(raw).decode().rstrip("=")).key_ids == (key_id(raw),)


def test_a_new_master_key_loads_and_never_repeats() -> None:
    assert len(from_environment(f"{new_master_key()},{new_master_key()}").key_ids) == 2


@pytest.mark.parametrize(
    ("value", "place", "words"),
    [
        ("", "key 1 of POSTHORN_MASTER_KEY", "is empty"),
        (f"{FIRST},", "key 2 of POSTHORN_MASTER_KEY", "is empty"),
        (f"{FIRST},{FIRST}", "key 2 of POSTHORN_MASTER_KEY", "repeats key 1 of POSTHORN_MASTER_KEY"),
        (f"{FIRST};{SECOND}", "key 1 of POSTHORN_MASTER_KEY", "is not the base64 of 32 bytes"),
        (f"{FIRST},hunter2hunter2", "key 2 of POSTHORN_MASTER_KEY", "openssl rand -base64 32"),
        (FIRST[:-5], "key 1 of POSTHORN_MASTER_KEY", "is not the base64 of 32 bytes"),
        ("пароль", "key 1 of POSTHORN_MASTER_KEY", "is not the base64 of 32 bytes"),
        ("ab" * 32, "key 1 of POSTHORN_MASTER_KEY", "is not the base64 of 32 bytes"),
    ],
)
def test_a_malformed_environment_value_is_refused_by_place_and_never_shown(value: str, place: str, words: str) -> None:
    with pytest.raises(StartRefused) as refused:
        from_environment(value)
    assert place in str(refused.value)
    assert words in str(refused.value)
    assert all(part not in str(refused.value) for part in value.replace(";", ",").split(",") if part)
    assert refused.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"# c\n{FIRST}\nhunter2hunter2\n", "line 3 of"),
        (f"{FIRST} # trailing comment\n", "line 1 of"),
        (f"{FIRST},{SECOND}\n", "line 1 of"),
        (f"{FIRST}\n\n{FIRST}\n", "repeats line 1 of"),
        ("# only a comment\n", "holds no key"),
        ("", "holds no key"),
        ("#" * 70_000, "too large"),
    ],
)
def test_a_malformed_file_is_refused_by_line_and_never_shown(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(StartRefused) as refused:
        from_file(write(tmp_path / "k", text))
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert FIRST not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "k", "")
    path.write_bytes(bytes(range(128, 160)))
    with pytest.raises(StartRefused, match="line 1 of"):
        from_file(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602])
def test_a_file_open_to_others_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "k", FIRST, mode)
    with pytest.raises(StartRefused, match="open to other users") as refused:
        from_file(path, may_create=True)
    assert f"chmod 600 {path}" in str(refused.value)
    path.chmod(0o400)
    assert from_file(path).key_ids == (FIRST_ID,)


def test_a_directory_or_pipe_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(0o700)
    for name in ("pipe", "directory"):
        with pytest.raises(StartRefused, match="no regular file"):
            from_file(tmp_path / name)


def test_a_link_to_a_private_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "k", FIRST))
    assert from_file(tmp_path / "link", may_create=True).key_ids == (FIRST_ID,)


def test_a_directory_that_does_not_exist_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be made") as refused:
        from_file(tmp_path / "absent" / "master.key", may_create=True)
    assert "directory writable" in str(refused.value)


def test_a_path_through_a_file_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path / "k", FIRST) / "below"
    with pytest.raises(StartRefused, match="cannot be read"):
        from_file(path)

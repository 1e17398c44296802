"""The kept key: how it is written, and to whom it is given."""

import stat
from pathlib import Path

import pytest

from posthorn.cli.credentials import (
    DEFAULT_URL,
    Credentials,
    choose_credentials,
    new_api_key,
    read_credentials,
    write_credentials,
)
from posthorn.cli.failures import CommandFailed

KEPT = Credentials(url="http://127.0.0.1:8600", api_key="phk_kept")


def test_what_was_written_is_read_and_only_the_owner_may(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    write_credentials(data, KEPT)
    write_credentials(data, KEPT)
    assert read_credentials(data) == KEPT
    assert stat.S_IMODE((data / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert [path.name for path in data.iterdir()] == ["credentials.json"]


def test_nothing_kept_reads_as_nothing(tmp_path: Path) -> None:
    assert read_credentials(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"url": "x"}'])
def test_a_broken_file_is_told_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "credentials.json").write_text(content)
    with pytest.raises(CommandFailed, match="Remove it"):
        read_credentials(tmp_path)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match="--data"):
        write_credentials(tmp_path / "file" / "data", KEPT)


def test_what_is_given_wins_over_what_is_kept(tmp_path: Path) -> None:
    write_credentials(tmp_path, KEPT)
    chosen = choose_credentials(url="http://other", api_key="given", data=tmp_path)
    assert (chosen.url, chosen.api_key) == ("http://other", "given")
    chosen = choose_credentials(url=None, api_key="given", data=tmp_path)
    assert (chosen.url, chosen.api_key) == (KEPT.url, "given")


@pytest.mark.parametrize("url", [None, KEPT.url, "http://localhost:8600", "http://[::1]:8600/"])
def test_the_kept_key_goes_to_the_server_that_it_was_made_for(tmp_path: Path, url: str | None) -> None:
    write_credentials(tmp_path, KEPT)
    assert choose_credentials(url=url, api_key=None, data=tmp_path).api_key == "phk_kept"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8700", "https://127.0.0.1:8600", "http://posthorn.example.org:8600", "http://[bad"]
)
def test_the_kept_key_goes_to_no_other_server(tmp_path: Path, url: str) -> None:
    write_credentials(tmp_path, KEPT)
    assert choose_credentials(url=url, api_key=None, data=tmp_path).api_key is None


def test_without_anything_the_default_address_is_asked(tmp_path: Path) -> None:
    assert choose_credentials(url=None, api_key=None, data=tmp_path) == Credentials(url=DEFAULT_URL, api_key=None)


def test_new_keys_differ_have_the_prefix_and_hide_in_the_repr() -> None:
    key = new_api_key()
    assert (key[:4], len(key), key == new_api_key()) == ("phk_", 47, False)
    assert key not in repr(Credentials(url="http://x", api_key=key))

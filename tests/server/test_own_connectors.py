"""Connectors of one's own: read at the start by the real program, and refused with file, line and column."""

import subprocess
import sys
from pathlib import Path

import pytest

from posthorn.connectors import load_catalogue, shipped_catalogue, use_catalogue
from posthorn.errors import StartRefused
from posthorn.server.catalogue import use_connectors

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "connectors.md"
SHOP = GUIDE.read_text().split("```toml\n")[1].split("```")[0]


@pytest.fixture(autouse=True)
def shipped() -> object:
    yield None
    use_catalogue(None)


def test_a_directory_adds_its_connectors_to_those_that_ship(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(SHOP)
    (tmp_path / "notes.txt").write_text("not a connector")
    (tmp_path / ".shop.toml.swp.toml").write_text("an editor's")
    use_connectors(tmp_path)
    assert set(load_catalogue()) == {*shipped_catalogue(), "shop"}
    use_connectors(None)
    assert load_catalogue() is shipped_catalogue()


def test_a_broken_file_is_refused_with_its_place_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(SHOP.replace("{{ input.points }}", "{% if %}"))
    with pytest.raises(StartRefused, match=r"shop\.toml:\d+:\d+: "):
        use_connectors(tmp_path)
    assert load_catalogue() is shipped_catalogue()


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="--connectors"):
        use_connectors(tmp_path / "none")
    (tmp_path / "shop.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StartRefused, match="UTF-8"):
        use_connectors(tmp_path)


def test_the_program_refuses_to_start_with_a_broken_file(tmp_path: Path) -> None:
    folder = tmp_path / "connectors"
    folder.mkdir()
    (folder / "shop.toml").write_text(SHOP.replace('category = "crm"', 'category = "shops"'))
    command = [sys.executable, "-m", "posthorn.cli", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    command += ["--inbox-port", "0", "--connectors", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "shop.toml:2:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()

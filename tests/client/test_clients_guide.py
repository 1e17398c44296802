"""The guide to the clients says what there is."""

import re
from dataclasses import fields
from importlib.resources import files
from inspect import getmembers, isfunction
from pathlib import Path

from posthorn.client import Client, Options

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "clients.md").read_text()


def test_every_option_is_in_the_guide_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\S+)` \|", GUIDE, re.MULTILINE)
    assert rows == [(option.name, str(option.default)) for option in fields(Options)]


def test_every_call_is_in_the_guide() -> None:
    calls = [name for name, _ in getmembers(Client, isfunction) if not name.startswith("_")]
    assert len(calls) == 9
    assert [name for name in calls if f"`{name}(" not in GUIDE] == []


def test_the_loading_script_of_the_guide_is_the_one_that_is_shipped() -> None:
    source = files("posthorn.browser").joinpath("loader.js").read_text().partition("*/\n")[2].strip()
    blanks = {
        "POSTHORN_URL": '"https://posthorn.example.com/posthorn.js"',
        "POSTHORN_KEY": '"WRITE_KEY"',
        "POSTHORN_OPTIONS": "{}",
    }
    for blank, value in blanks.items():
        source = source.replace(blank, value)
    assert f"<script>\n{source}\n</script>" in GUIDE

"""The translated READMEs say what README.md says: the same blocks, the same links, the same headings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORIGINAL = "README.md"
TRANSLATIONS = ("README.ru.md", "README.zh.md")
READMES = (ORIGINAL, *TRANSLATIONS)
TERMS = (
    "source",
    "request",
    "event",
    "message",
    "endpoint",
    "delivery",
    "attempt",
    "automation",
    "decision",
    "journal",
)

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^ {4}(.+?) +# .+$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) +\S", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_TERM = re.compile(r"^\| ([a-z]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """Return the fenced blocks with their fences and info strings."""
    return _FENCED.findall(text)


def prose(text: str) -> str:
    return _FENCED.sub("", text)


def commands(text: str) -> list[str]:
    """Return the indented commands without the comments beside them."""
    return _COMMAND.findall(prose(text))


def relative_links(text: str) -> list[str]:
    return [link for link in _LINK.findall(prose(text)) if not re.match(r"[a-z]+:", link)]


def links_to_docs(text: str) -> list[str]:
    return [link for link in relative_links(text) if link not in READMES]


def levels(text: str) -> list[int]:
    return [len(marks) for marks in _HEADING.findall(prose(text))]


def codes(text: str) -> list[str]:
    """Return the inline code, sorted, because a translation may order the words of a sentence anew."""
    return sorted(_CODE.findall(prose(text)))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_has_the_very_blocks_of_the_readme(name: str) -> None:
    assert blocks(read(name)) == blocks(read(ORIGINAL))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_has_the_indented_commands_of_the_readme(name: str) -> None:
    assert commands(read(name)) == commands(read(ORIGINAL))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_links_to_the_same_docs_in_the_same_order(name: str) -> None:
    assert links_to_docs(read(name)) == links_to_docs(read(ORIGINAL))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_has_headings_of_the_same_levels(name: str) -> None:
    assert levels(read(name)) == levels(read(ORIGINAL))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_names_the_same_code_in_its_prose(name: str) -> None:
    assert codes(read(name)) == codes(read(ORIGINAL))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_ends_with_the_key_terms(name: str) -> None:
    assert tuple(_TERM.findall(read(name))[-len(TERMS) :]) == TERMS


@pytest.mark.parametrize("name", READMES)
def test_every_readme_links_to_the_others_under_its_title(name: str) -> None:
    title, _, languages = read(name).splitlines()[:3]
    assert title == "# Posthorn"
    assert _LINK.findall(languages) == [other for other in READMES if other != name]


def test_the_readme_has_something_of_each_kind_to_compare() -> None:
    text = read(ORIGINAL)
    assert all(found(text) for found in (blocks, commands, links_to_docs, levels, codes))


def test_what_is_compared_is_found_outside_and_inside_of_fences() -> None:
    text = "# A\n\n    make a   # b\n\n```sh tour\n# no heading\n[c](d.md)\n```\n\n## E `f` [g](h.md) [i](README.md)\n"
    assert blocks(text) == ["```sh tour\n# no heading\n[c](d.md)\n```"]
    assert commands(text) == ["make a"]
    assert levels(text) == [1, 2]
    assert codes(text) == ["`f`"]
    assert relative_links(text) == ["h.md", "README.md"]
    assert links_to_docs(text) == ["h.md"]

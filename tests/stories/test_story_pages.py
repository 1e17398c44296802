"""The tutorials are whole: each has its parts, is listed, and says requests that can be read."""

import pytest
from story_pages import GUIDES, Page, commands_of, missing

PAGES = sorted(path.stem for path in GUIDES.glob("*.md") if path.stem != "README")
HEADINGS = ["Prepare", "The automation", "Try it first", "Let it happen", "Why"]


def test_there_are_ten_stories_and_all_are_listed() -> None:
    index = (GUIDES / "README.md").read_text()
    assert len(PAGES) == 10
    assert [name for name in PAGES if f"]({name}.md)" not in index] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_goes_from_what_to_store_to_why(name: str) -> None:
    page = Page(name)
    assert page.sections == HEADINGS
    typed = {heading: page.section(heading) for heading in HEADINGS}
    assert typed["The automation"][0].path.startswith("/automation/")
    assert all(one.path.endswith("/preview") and one.shown for one in typed["Try it first"])
    assert typed["Why"][-1].shown


def test_commands_are_told_apart_at_line_ends_outside_of_quotes_and_documents() -> None:
    commands = [
        "call $API/a -d '{\n}'",
        "call \\\n  $API/b",
        "A=$(call $API/c -d @- <<'EOF' | pick url\n{}\nEOF\n)",
        "call $API/d",
    ]
    assert commands_of("\n".join(["# first", *commands, ""])) == commands


def test_a_line_that_is_not_shown_is_missing() -> None:
    assert missing(('"a":1', '"b":…2'), '{"a":1,"b":{"c":3}}') == ['"b":…2']

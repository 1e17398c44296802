"""The files that are shipped."""

import json
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.browser import loading_tag, snippet, snippet_etag

FOLDER = files("posthorn.browser")


@pytest.mark.parametrize("name", ["posthorn", "loader"])
def test_the_minified_form_was_made_of_the_source(name: str) -> None:
    """Run scripts/build_snippet.sh when this fails."""
    source = FOLDER.joinpath(f"{name}.js").read_bytes()
    built = FOLDER.joinpath(f"{name}.min.js").read_text()
    assert built.startswith(f"/*{sha256(source).hexdigest()[:12]}*/")


def test_the_snippet_is_smaller_than_three_kilobytes() -> None:
    assert 1_000 < len(snippet()) < 3_000


def test_the_snippet_makes_no_code_of_text_and_names_no_other_host() -> None:
    text = snippet().decode("ascii")
    assert [word for word in ("eval(", "Function(", "document.write", "innerHTML", "://") if word in text] == []


def test_the_entity_tag_is_quoted_and_follows_the_source() -> None:
    digest = sha256(FOLDER.joinpath("posthorn.js").read_bytes()).hexdigest()
    assert snippet_etag() == f'"{digest[:12]}"'


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.nonces: list[str | None] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        self.found.append("")
        self.nonces.append(dict(attrs).get("nonce"))

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        assert self._inside, f"{data!r} is outside of the script"
        self.found[-1] += data


hostile = st.text() | st.sampled_from(["</script><b>", "<!--<script>", "POSTHORN_URL", "\u2028"])


@given(key=hostile, nonce=st.text(st.characters(exclude_characters="\r\0")))
def test_no_value_ends_the_loading_tag(key: str, nonce: str) -> None:
    tag = loading_tag(script_url="http://127.0.0.1/posthorn.js", write_key=key, options={"host": key}, nonce=nonce)
    parser = _Scripts()
    parser.feed(tag)
    parser.close()
    assert len(parser.found) == 1
    assert parser.nonces == [nonce]
    written = json.dumps(key).replace("<", "\\u003c")
    assert f'.init({written},{{"host": {written}}})' in parser.found[0]

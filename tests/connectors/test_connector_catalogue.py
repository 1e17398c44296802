import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import posthorn.connectors
from posthorn.connectors import Connector, ConnectorInvalid, Text, load_catalogue, parse_connector, with_files
from posthorn.connectors.checking import parts
from posthorn.templating import compile_template

FILES = sorted((Path(posthorn.connectors.__file__).parent / "catalogue").glob("*.toml"))
CATALOGUE = load_catalogue()
# A label may be a name that is written alike everywhere; a sentence may not.
SENTENCES = {"description", "help", "because"}


def texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Text]]:
    if isinstance(value, Text):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from texts(getattr(value, name), (*path, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, (*path, name))
    elif isinstance(value, tuple):
        for inner in value:
            yield from texts(inner, path)


def test_each_file_holds_the_connector_that_it_is_named_after() -> None:
    assert [path.stem for path in FILES] == sorted(CATALOGUE)
    assert {name: connector.name for name, connector in CATALOGUE.items()} == {name: name for name in CATALOGUE}


def test_the_catalogue_has_every_target_that_was_asked_for() -> None:
    wanted = """messenger line kik telegram whatsapp slack slack_webhook discord viber vk wecom wechat dingtalk feishu
    twilio exolve lob hubspot salesforce bitrix24 amocrm pipedrive mailchimp ga4 segment amplitude customerio braze"""
    assert set(CATALOGUE) == set(wanted.split())
    assert {name for name, connector in CATALOGUE.items() if connector.legacy} == {"kik"}


@pytest.mark.parametrize("connector", CATALOGUE.values(), ids=CATALOGUE)
def test_every_sentence_is_written_in_three_languages(connector: Connector) -> None:
    found = list(texts(connector))
    assert len(found) > 4
    for path, text in found:
        if path[-1] in SENTENCES or (path[-1] == "title" and "actions" in path):
            assert re.search("[а-яё]", text.ru, re.IGNORECASE), (path, text.ru)
            assert re.search("[\u4e00-\u9fff]", text.zh), (path, text.zh)
        assert not re.search("[а-яё]|[\u4e00-\u9fff]", text.en, re.IGNORECASE), (path, text.en)


@pytest.mark.parametrize("connector", CATALOGUE.values(), ids=CATALOGUE)
def test_every_template_compiles_and_reads_nothing_but_what_it_is_given(connector: Connector) -> None:
    requests = [action.request for action in connector.actions.values()]
    requests += [part.request for part in (connector.test, connector.token) if part is not None and part.request]
    for request in requests:
        for place, text in parts(request):
            escape: Any = {"url": "url", "headers": "header"}.get(str(place[0]), "json")
            roots = {re.split(r"[.\[]", path)[0] for path in compile_template(text, escape=escape).variables}
            assert roots <= {"input", "credential", "delivery", "now", "forloop"}, place


def test_the_catalogue_is_read_once() -> None:
    assert load_catalogue() is load_catalogue()


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CATALOGUE["mine"] = CATALOGUE["slack"]  # type: ignore[index]


def test_a_file_of_ones_own_stands_beside_the_others() -> None:
    text = FILES[0].read_text().replace(f'name = "{FILES[0].stem}"', 'name = "mine"')
    mixed = with_files(CATALOGUE, {"mine.toml": text})
    assert mixed["mine"].actions == CATALOGUE[FILES[0].stem].actions
    assert set(mixed) == {*CATALOGUE, "mine"}


def test_a_file_of_ones_own_takes_the_place_of_one_with_its_name() -> None:
    text = next(path for path in FILES if path.stem == "slack").read_text().replace("C0123456789", "C9999999999")
    mixed = with_files(CATALOGUE, {"ours.toml": text})
    assert mixed["slack"].actions["send_message"].inputs["channel"].sample == "C9999999999"
    assert CATALOGUE["slack"].actions["send_message"].inputs["channel"].sample == "C0123456789"


def test_two_files_of_one_name_are_refused() -> None:
    text = FILES[0].read_text()
    with pytest.raises(ConnectorInvalid, match="rename one"):
        with_files(CATALOGUE, {"a.toml": text, "b.toml": text})


def test_the_example_of_the_guide_is_a_connector() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "connectors.md"
    example = guide.read_text().split("```toml\n")[1].split("```")[0]
    shop = parse_connector(example, "shop.toml")
    assert shop.actions["points_add"].answer.retry_after[0].unit == "milliseconds"


def test_the_guide_names_every_connector_and_action() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "connectors.md").read_text()
    shipped = guide.partition("## What ships")[2].partition("## What an answer")[0]
    for name, connector in CATALOGUE.items():
        assert f"`{name}`" in shipped
        assert [action for action in connector.actions if action not in shipped] == []

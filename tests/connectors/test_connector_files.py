import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.connectors import ConnectorInvalid, InputType, parse_connector
from posthorn.connectors.locating import KeyPlaces

GOOD = """\
name = "shop"
category = "crm"
docs = "https://shop.example.com/docs"
title = { en = "Shop", ru = "Магазин", zh = "商店" }
description = { en = "Orders.", ru = "Заказы.", zh = "订单。" }

[credentials.shop]
secret = false
form = "label"
sample = "acme"
label = { en = "Shop", ru = "Магазин", zh = "商店" }
help = { en = "Its name.", ru = "Его имя.", zh = "名称。" }

[credentials.token]
form = "token"
sample = "abc"
label = { en = "Token", ru = "Токен", zh = "令牌" }
help = { en = "A token.", ru = "Токен.", zh = "令牌。" }

[test]
action = "order_add"

[actions.order_add]
title = { en = "Order", ru = "Заказ", zh = "订单" }
idempotency = { field = "key" }
at_send = [{ name = "stamp", compute = "unix_ms", query = "t" }]

[actions.order_add.inputs.title]
sample = "Book"
label = { en = "Title", ru = "Название", zh = "标题" }

[actions.order_add.request]
url = "https://{{ credential.shop }}.shop.example.com/orders/{{ credential.token | unescaped }}"
headers = { Content-Type = "application/json" }
body = '''
{"title": {{ input.title }}, "key": {{ delivery.key }}}
'''

[actions.order_add.answer]
success = [{ when = [{ path = "ok", value = true }] }]
retry = [{ statuses = [404] }]
retry_after = [{ path = "wait" }]
"""


def line_of(text: str, needle: str) -> int:
    return text[: text.index(needle)].count("\n") + 1


def refused(text: str) -> ConnectorInvalid:
    with pytest.raises(ConnectorInvalid) as caught:
        parse_connector(text, "shop.toml")
    assert str(caught.value).startswith(f"shop.toml:{caught.value.line}:{caught.value.column}: ")
    return caught.value


def test_a_file_becomes_a_connector() -> None:
    connector = parse_connector(GOOD, "shop.toml")
    action = connector.actions["order_add"]
    assert connector.title.ru == "Магазин"
    assert connector.secrets() == {"token"}
    assert action.inputs["title"].type is InputType.TEXT
    assert action.request.method == "POST"
    assert action.at_send[0].query == "t"


def test_broken_toml_is_refused_with_its_place() -> None:
    error = refused(GOOD.replace('category = "crm"', 'category = "crm'))
    assert (error.line, error.message) == (2, "this is not TOML: Illegal character '\\n'")
    assert error.column == 16


def test_a_file_that_ends_too_early_is_refused_at_its_end() -> None:
    error = refused(GOOD + "\n[actions.x")
    assert error.line == GOOD.count("\n") + 2


def test_an_unknown_key_is_refused_and_the_likely_one_named() -> None:
    error = refused(GOOD.replace("[actions.order_add.answer]\nsuccess", "[actions.order_add.answer]\nsucces"))
    assert error.line == line_of(GOOD, "success = [")
    assert "unknown key" in error.message
    error = refused(GOOD.replace('category = "crm"', 'category = "crm"\nlegacyy = true'))
    assert (error.line, error.message) == (3, "legacyy: unknown key: did you mean `legacy`?")


def test_a_missing_language_is_refused_at_the_label() -> None:
    error = refused(GOOD.replace('label = { en = "Title", ru = "Название", zh = "标题" }', 'label = { en = "Title" }'))
    assert error.line == line_of(GOOD, 'label = { en = "Title"')
    assert error.message == "actions.order_add.inputs.title.label: Object missing required field `ru`"


MISTAKES = [
    ('category = "crm"', 'category = "zoo"', "category: Invalid enum value 'zoo'"),
    ('sample = "Book"', "", "a required input needs a `sample`"),
    ('sample = "Book"', 'sample = ["Book"]', "its sample or default must be text"),
    ('form = "label"\n', "", "stands in the host"),
    ("https://{{ credential.shop }}.shop", "https://{{ credential.token }}.shop", "stands in the host"),
    ("https://{{ credential.shop }}.shop", "https://{{ input.title }}.shop", "must begin with https://"),
    ("https://{{ credential.shop }}.shop", "http://{{ credential.shop }}.shop", "must begin with https://"),
    ("https://{{ credential.shop }}.shop", "https://user@{{ credential.shop }}.shop", "must begin with https://"),
    ("https://{{ credential.shop }}.shop", "https://{{ credential.shop }}:80.shop", "must begin with https://"),
    ("{{ credential.token | unescaped }}", "{{ input.title | unescaped }}", "may be `unescaped`"),
    ('form = "token"\n', "", "may be unescaped only with a form"),
    ('{"title": {{ input.title }}, ', "{", "no template uses this input"),
    ("{{ input.title }},", "{{ input.titel }},", "there is no `input.titel`"),
    ("{{ input.title }},", "{{ input['title'] }},", "write `input.<name>`"),
    ("{{ input.title }},", "{{ profile.name }},", "`profile` is unknown here"),
    ("/{{ credential.token | unescaped }}", "", "no request uses this credential"),
    ("{{ delivery.key }}", '"1"', "belong together"),
    ('idempotency = { field = "key" }\n', "", "belong together"),
    ('{ field = "key" }', '{ field = "key", header = "X" }', "either `header` or `field`"),
    ('action = "order_add"', 'action = "order"', "there is no action `order`"),
    ('query = "t"', 'query = "t", header = "T"', "one place"),
    ('compute = "unix_ms"', 'compute = "hmac_sha256", message = "x"', "needs a `key`"),
    ('compute = "unix_ms"', 'compute = "text", message = "{nobody}"', "neither a credential nor an earlier value"),
    ("retry = [{ statuses = [404] }]", "retry = [{}]", "matches every answer"),
    ("statuses = [404]", "statuses = [4040]", "a status is from 100 to 599"),
    ('{ path = "ok", value = true }', '{ path = "ok" }', "`eq` needs a `value`"),
    ('{ path = "ok", value = true }', '{ path = "ok", operator = "gt", value = "1" }', "needs a number"),
    ('{ path = "ok", value = true }', '{ path = "ok", operator = "in", value = 1 }', "needs a list"),
    ('{ path = "wait" }', '{ path = "wait", header = "W" }', "either `path` or `header`"),
    ('Content-Type = "application/json"', 'Host = "evil.example.com"', "the transport writes this header itself"),
    ('secret = false\nform = "label"', 'form = "label"\ndefault = "x"', "a secret has neither"),
    ('sample = "acme"', 'sample = "a/b"', "letters, digits and hyphens only"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[f"{m[2]} {i}" for i, m in enumerate(MISTAKES)])
def test_a_mistake_is_refused_at_its_place(old: str, new: str, message: str) -> None:
    assert old in GOOD
    error = refused(GOOD.replace(old, new))
    assert message in error.message
    # Every message names the key, and the place is a line of the table that holds it.
    assert error.line > 1
    assert error.code == "connector_invalid"


def test_the_place_is_that_of_the_key() -> None:
    error = refused(GOOD.replace("{{ input.title }},", "{{ input.titel }},"))
    assert (error.line, error.column) == (line_of(GOOD, "body = '''"), 1)
    error = refused(GOOD.replace('sample = "acme"', 'sample = "a/b"'))
    assert (error.line, error.column) == (line_of(GOOD, 'sample = "acme"'), 1)


def test_a_key_in_a_multi_line_string_is_no_key() -> None:
    places = KeyPlaces("a = '''\nb = 1\n[c]\n'''\nb = 2\n[d]\n  e = 1\n[[f]]\n[[f]]\ng.h = 1\n")
    assert places.find(("b",)) == (5, 1)
    assert places.find(("c",)) == (1, 1)
    assert places.find(("d", "e")) == (7, 3)
    assert places.find(("f", 1, "g", "h")) == (10, 1)
    assert places.find(("f", 1, "nothing")) == (9, 3)


@given(st.text(max_size=300))
def test_any_text_is_a_connector_or_refused_with_a_place(text: str) -> None:
    with pytest.raises(ConnectorInvalid) as caught:
        parse_connector(text, "any.toml")
    assert caught.value.line >= 1
    assert caught.value.column >= 1


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 30))
def test_a_file_with_a_piece_cut_out_is_a_connector_or_refused(start: int, length: int) -> None:
    text = GOOD[:start] + GOOD[start + length :]
    place = place_of_refusal(text)
    assert place is None or (1 <= place[0] <= text.count("\n") + 1 and place[1] >= 1)


def place_of_refusal(text: str) -> tuple[int, int] | None:
    try:
        parse_connector(text, "cut.toml")
    except ConnectorInvalid as error:
        return error.line, error.column
    return None


def test_a_deeply_nested_file_is_refused() -> None:
    assert "nested too deeply" in refused("a = " + "[" * 100_000).message
    assert "longer than" in refused("#" * 600_000).message

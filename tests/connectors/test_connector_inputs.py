import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.connectors import (
    Action,
    Choice,
    Credential,
    Filled,
    Form,
    Idempotency,
    Input,
    InputType,
    NotFilled,
    RequestTemplate,
    Text,
    idempotency_key,
    load_catalogue,
    masked_credentials,
    read_credentials,
    read_inputs,
    request_variables,
)
from posthorn.connectors.forms import form_problem

LABEL = Text(en="x", ru="x", zh="x")
REQUEST = RequestTemplate(url="https://x.example.com")
CHOICES = (Choice(value="a", label=LABEL), Choice(value="b", label=LABEL))


def action(**declared: Any) -> Action:
    return Action(title=LABEL, request=REQUEST, inputs={"it": Input(label=LABEL, **declared)})


def read(declared: dict[str, Any], value: object) -> Any:
    filled = read_inputs(action(**declared), {"it": value})
    return filled.values["it"] if isinstance(filled, Filled) else filled.problems[0].msg


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ({}, "text", "text"),
        ({}, 79161234567, "79161234567"),
        ({}, "", "is required"),
        ({}, None, "is required"),
        ({}, True, "must be text"),
        ({}, {"a": 1}, "must be text"),
        ({"required": False}, "", None),
        ({"required": False, "default": "x"}, "", "x"),
        ({"max_characters": 3}, "abcd", "is longer than 3 characters"),
        ({"max_bytes": 5}, "中文", "is longer than 5 bytes"),
        ({"type": InputType.NUMBER}, " 12 ", 12),
        ({"type": InputType.NUMBER}, "1.5", 1.5),
        ({"type": InputType.NUMBER}, 0, 0),
        ({"type": InputType.NUMBER}, "1e999", "must be a number"),
        ({"type": InputType.NUMBER}, float("nan"), "must be a number"),
        ({"type": InputType.NUMBER}, True, "must be a number"),
        ({"type": InputType.NUMBER, "whole": True}, "2.0", 2),
        ({"type": InputType.NUMBER, "whole": True}, 2.5, "must be a whole number"),
        ({"type": InputType.NUMBER, "minimum": 1}, 0, "must be at least 1"),
        ({"type": InputType.NUMBER, "maximum": 9}, 10, "must be at most 9"),
        ({"type": InputType.CHOICE, "choices": CHOICES}, "b", "b"),
        ({"type": InputType.CHOICE, "choices": CHOICES}, "c", "must be one of a, b"),
        ({"type": InputType.JSON}, '{"a": [1]}', {"a": [1]}),
        ({"type": InputType.JSON}, {"a": 1}, {"a": 1}),
        ({"type": InputType.JSON}, "{", "must be JSON"),
        ({"type": InputType.JSON}, "[" * 60_000, "must be JSON"),
        ({"type": InputType.JSON, "max_items": 1}, [1, 2], "has more than 1 items"),
        ({"type": InputType.LIST}, "a\n b \n\n", ["a", "b"]),
        ({"type": InputType.LIST}, '["a, b"]', ["a, b"]),
        ({"type": InputType.LIST}, [], "must not be empty"),
        ({"type": InputType.LIST, "max_items": 1}, ["a", "b"], "has more than 1 items"),
        ({"type": InputType.LIST, "max_characters": 1}, ["ab"], "is longer than 1 characters"),
    ],
)
def test_a_value_is_read_by_its_type(declared: dict[str, Any], value: object, expected: object) -> None:
    got = read(declared, value)
    assert got == expected
    assert type(got) is type(expected)


def test_all_problems_are_told_and_unknown_inputs_are_refused() -> None:
    filled = read_inputs(action(), {"other": 1})
    assert isinstance(filled, NotFilled)
    assert [problem.loc for problem in filled.problems] == [("inputs", "other"), ("inputs", "it")]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_value_breaks_the_reading(value: object) -> None:
    for kind in InputType:
        declared: dict[str, Any] = {"type": kind, "choices": CHOICES if kind is InputType.CHOICE else ()}
        assert isinstance(read_inputs(action(**declared), {"it": value}), Filled | NotFilled)


MOVING = [
    "evil.example.com/",
    "a@evil",
    "a#",
    "a?b",
    "a/b",
    "..",
    ".",
    "a b",
    "a\n",
    "a:80",
    "-a",
    "a\\b",
    "%2e",
    "",
    "é",
]


@pytest.mark.parametrize("value", MOVING)
def test_no_label_can_move_the_request_to_another_host(value: str) -> None:
    declared = Credential(label=LABEL, help=LABEL, sample="x", secret=False, form=Form.LABEL)
    assert form_problem(declared, value) is not None


HOSTS = [
    "evil",
    "127.0.0.1",
    "[::1]",
    "a..b",
    "a.b/",
    "a.b:80",
    "u@a.b",
    "a.b#",
    ".a.b",
    "a.b.",
    "a.b\n",
    "x" * 300 + ".a",
]


@pytest.mark.parametrize("value", HOSTS)
def test_a_host_is_a_name_and_nothing_else(value: str) -> None:
    declared = Credential(label=LABEL, help=LABEL, sample="x", secret=False, form=Form.HOST)
    assert form_problem(declared, value) is not None
    assert form_problem(declared, "acme.bitrix24.ru") is None


@given(st.text(max_size=30))
def test_what_stands_in_a_path_as_it_is_stays_in_its_segment(value: str) -> None:
    token = Credential(label=LABEL, help=LABEL, sample="x", form=Form.TOKEN)
    if form_problem(token, value) is None:
        assert re.fullmatch(r"[A-Za-z0-9._~:-]+", value)
        assert value not in {".", ".."}
    path = Credential(label=LABEL, help=LABEL, sample="x", form=Form.PATH)
    if form_problem(path, value) is None:
        assert not {"", ".", ".."} & set(value.split("/"))


def test_problems_of_credentials_never_quote_a_value() -> None:
    filled = read_credentials(load_catalogue()["telegram"], {"token": "secret with spaces", "other": "hush"})
    assert isinstance(filled, NotFilled)
    assert len(filled.problems) == 2
    assert "secret with spaces" not in repr(filled)
    assert "hush" not in repr(filled)


def test_defaults_and_optional_credentials_are_filled_in() -> None:
    feishu = load_catalogue()["feishu"]
    filled = read_credentials(feishu, {"token": "abc"})
    assert isinstance(filled, Filled)
    assert filled.values == {"host": "open.feishu.cn", "token": "abc", "secret": None}
    assert repr(filled) == "Filled(host, token, secret)"
    assert masked_credentials(feishu, filled.values, "***") == {
        "host": "open.feishu.cn",
        "token": "***",
        "secret": None,
    }
    assert isinstance(read_credentials(feishu, {"token": "abc", "host": "evil.example.com"}), NotFilled)


def test_templates_see_inputs_credentials_delivery_and_now() -> None:
    made = request_variables(action(), inputs={"it": 1}, credentials={"k": "v"}, delivery_id="dlv_1", now_ms=0)
    assert made == {
        "input": {"it": 1},
        "credential": {"k": "v"},
        "delivery": {"id": "dlv_1", "key": "dlv_1"},
        "now": "1970-01-01T00:00:00.000Z",
    }


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_key_is_constant_for_a_delivery_and_differs_between_deliveries(one: str, other: str) -> None:
    for derive in ("as_is", "uuid5", "int31"):
        idempotency = Idempotency(derive=derive, field="x")
        assert idempotency_key(idempotency, one) == idempotency_key(idempotency, one)
        assert (idempotency_key(idempotency, one) == idempotency_key(idempotency, other)) is (one == other)
    number = idempotency_key(Idempotency(derive="int31", field="x"), one)
    assert isinstance(number, int)
    assert 1 <= number < 2**31


def test_keys_stay_as_they_are_from_version_to_version() -> None:
    # A retry after an upgrade must carry the key of the first attempt.
    assert idempotency_key(Idempotency(derive="int31", field="x"), "dlv_1") == KEY_INT31
    assert idempotency_key(Idempotency(derive="uuid5", field="x"), "dlv_1") == KEY_UUID5


KEY_INT31 = 1683738224
KEY_UUID5 = "9d962ff6-abe6-5017-b99c-01887503b5eb"

"""Reading rows of people: cells, CSV, JSONL."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.cli.failures import CommandFailed
from posthorn.cli.people_cells import CellType, NoSuchType, WrongCell, cell_value, parse_types
from posthorn.cli.people_export import cells_of
from posthorn.cli.people_files import LONGEST_LINE, BadRow, GoodRow, Reading, read_csv, read_jsonl

JSON_VALUES = st.recursive(
    st.booleans() | st.integers(-(10**14), 10**14) | st.text("abc é王.,;\"'\n 0", min_size=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", min_size=1, max_size=3), inner),
    max_leaves=6,
)


def from_csv(text: str, **reading: Any) -> list[GoodRow | BadRow]:
    return list(read_csv(io.StringIO(text, newline=""), Reading(**reading)))


def from_jsonl(text: str, **reading: Any) -> list[GoodRow | BadRow]:
    return list(read_jsonl(io.StringIO(text, newline=""), Reading(**reading)))


def only(rows: list[GoodRow | BadRow]) -> Any:
    [row] = rows
    return row


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", None),
        ("  ", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-42", -42),
        (" 7 ", 7),
        ("123456789012345", 123456789012345),
        ("1234567890123456", "1234567890123456"),
        ("007", "007"),
        ("+49170", "+49170"),
        ("1.50", 1.5),
        ("0.1234567890123456", "0.1234567890123456"),
        ("1,5", "1,5"),
        ("1e5", "1e5"),
        ("NaN", "NaN"),
        ('["a", 1]', ["a", 1]),
        ('{"a": null}', {"a": None}),
        ("[draft]", "[draft]"),
        ("2024-02-29", "2024-02-29"),
        (" a ", " a "),
        ("null", "null"),
        ("yes", "yes"),
        ("١٢", "١٢"),
    ],
)
def test_what_a_cell_says_is_guessed_by_the_rule(cell: str, value: Any) -> None:
    found = cell_value(cell, CellType.AUTO)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("7", CellType.TEXT, "7"),
        ("true", CellType.TEXT, "true"),
        ("", CellType.TEXT, None),
        ("1e5", CellType.NUMBER, 100_000.0),
        ("1234567890123456", CellType.NUMBER, 1234567890123456),
        ("yes", CellType.BOOLEAN, True),
        ("0", CellType.BOOLEAN, False),
        ("7", CellType.JSON, 7),
        ('"x"', CellType.JSON, "x"),
    ],
)
def test_a_named_type_outweighs_the_rule(cell: str, kind: CellType, value: Any) -> None:
    found = cell_value(cell, kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("x", CellType.NUMBER),
        ("inf", CellType.NUMBER),
        ("nan", CellType.NUMBER),
        ("maybe", CellType.BOOLEAN),
        ("{", CellType.JSON),
        ("NaN", CellType.JSON),
        ("[" * 100_000, CellType.JSON),
    ],
)
def test_a_cell_that_does_not_fit_its_type_is_refused(cell: str, kind: CellType) -> None:
    with pytest.raises(WrongCell):
        cell_value(cell, kind)


def test_types_are_named_by_column_or_for_all() -> None:
    assert parse_types("zip=text, a=b=number") == {"zip": CellType.TEXT, "a=b": CellType.NUMBER}
    assert parse_types("text") == parse_types("*=text") == {"*": CellType.TEXT}
    assert parse_types("") == {}
    with pytest.raises(NoSuchType, match="'float' is no type"):
        parse_types("age=float")


def test_a_row_sets_what_its_columns_name() -> None:
    text = (
        "user,name,address.city,timeZone,locale,subscriptions.email,attributes.locale,age\n"
        "42,Иван,東京,Europe/Moscow,ru-RU,opted_in,x,\n"
    )
    row = only(from_csv(text))
    assert (row.line, row.user) == (2, "42")
    assert row.change == {
        "set": {"name": "Иван", "address.city": "東京", "locale": "x"},
        "timeZone": "Europe/Moscow",
        "locale": "ru-RU",
        "subscriptions": {"email": "opted_in"},
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_the_delimiter(delimiter: str) -> None:
    text = delimiter.join(("user", '"a,b;c"', "n")) + "\n" + delimiter.join(("42", "x", "1")) + "\n"
    assert only(from_csv(text)).change == {"set": {"a,b;c": "x", "n": 1}}


def test_a_spreadsheets_own_first_line_tells_the_delimiter() -> None:
    row = only(from_csv("sep=;\r\nuser;a,b\r\n42;1\r\n"))
    assert (row.line, row.change) == (3, {"set": {"a,b": 1}})


def test_lines_are_counted_over_cells_with_line_breaks_and_empty_lines() -> None:
    rows = from_csv('user,a\n1,"x\ny"\n\n2\n,\n3,z\n')
    assert [(type(row), row.line) for row in rows] == [(GoodRow, 2), (BadRow, 5), (GoodRow, 7)]
    assert rows[0].text == '1,"x\ny"'


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("42,1", "2 cells where the header has 3"),
        ("42,1,2,3", "4 cells where the header has 3"),
        (",1,UTC", "there is no user id"),
        ("x" * 513 + ",1,UTC", "a user id has 1 to 512 characters"),
        ("42,x,UTC", "column n: 'x' is no number"),
        ("42,1,Mars", "timeZone: must be an IANA time zone"),
        ("42,1,\udcff", "not in the file's encoding"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_the_others_are_read(row: str, reason: str) -> None:
    rows = from_csv(f"user,n,timeZone\n1,1,UTC\n{row}\n3,3,UTC\n", types={"n": CellType.NUMBER})
    assert [type(each) for each in rows] == [GoodRow, BadRow, GoodRow]
    bad = rows[1]
    assert isinstance(bad, BadRow)
    assert (bad.line, reason in bad.reason) == (3, True), bad.reason


def test_a_wrong_subscription_is_told() -> None:
    bad = only(from_csv("user,subscriptions.email\n1,perhaps\n"))
    assert bad.reason == ("column subscriptions.email: 'perhaps' is none of subscribed, opted_in, unsubscribed")


def test_an_unclosed_quote_costs_no_more_than_the_longest_cell() -> None:
    text = 'user,a\n1,"' + "x\n" * 100_000 + "2,y\n3,z\n"
    rows = from_csv(text)
    assert isinstance(rows[0], BadRow)
    assert (rows[0].line, "field larger" in rows[0].reason) == (2, True)
    assert [row.user for row in rows if isinstance(row, GoodRow)] == ["2", "3"]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", "empty"),
        ("id,name", "no column 'user'"),
        ("user,a,a", "'a' is there twice"),
        ("user,,a", "Column 2 has no name"),
        ("user,a..b", "cannot be an attribute"),
        ("user," + ".".join("abcdefghijk"), "cannot be an attribute"),
        ("user," + "a" * 257, "cannot be an attribute"),
    ],
)
def test_a_header_that_cannot_be_is_refused(header: str, told: str) -> None:
    with pytest.raises(CommandFailed, match=told):
        from_csv(header + "\n1,2,3\n")


def test_types_of_columns_that_are_not_there_are_refused() -> None:
    with pytest.raises(CommandFailed, match="agee"):
        from_csv("user,age\n1,2\n", types={"agee": CellType.TEXT})


def test_json_lines_hold_attributes_or_a_person_as_exported() -> None:
    person = {
        "user": "王",
        "attributes": {"a": {"b": [1, None]}, "gone": None},
        "subscriptions": {"sms": "unsubscribed"},
        "timeZone": None,
        "locale": "zh-CN",
        "devices": [{"id": "d", "appVersion": "1"}],
        "aliases": ["x"],
        "segments": [],
        "createdAt": "…",
        "updatedAt": "…",
    }
    flat = {"user": 42, "plan": "gold", "address.city": "Köln", "empty": None}
    rows = from_jsonl(json.dumps(person) + "\n\n" + json.dumps(flat) + "\n")
    assert [(row.line, getattr(row, "user", None)) for row in rows] == [(1, "王"), (3, "42")]
    assert [getattr(row, "change", None) for row in rows] == [
        {
            "set": {"a": {"b": [1, None]}},
            "subscriptions": {"sms": "unsubscribed"},
            "locale": "zh-CN",
            "devices": [{"id": "d", "appVersion": "1"}],
        },
        {"set": {"plan": "gold", "address.city": "Köln"}},
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "one JSON object"),
        ("{}", "no user id"),
        ('{"user": ""}', "no user id"),
        ('{"user": {"id": 1}}', "no user id"),
        ('{"user": "a", "x": NaN}', "NaN is no JSON number"),
        ('{"user": "a", "attributes": {}, "plan": 1}', "'plan' is not known here"),
        ('{"user": "a", "attributes": {}, "devices": [{}]}', "id"),
        ('{"user": "\\ud800"}', "encoding"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_json_line_is_told_and_the_others_are_read(line: str, reason: str) -> None:
    rows = from_jsonl('{"user": "1"}\n' + line + '\n{"user": "3"}\n')
    assert [type(row) for row in rows] == [GoodRow, BadRow, GoodRow]
    bad = rows[1]
    assert isinstance(bad, BadRow)
    assert (bad.line, reason in bad.reason) == (2, True), bad.reason


def test_an_endless_json_line_is_refused_without_being_kept() -> None:
    rows = from_jsonl('{"user": "' + "x" * (3 * LONGEST_LINE) + '"}\n{"user": "2"}')
    assert [(type(row), row.line) for row in rows] == [(BadRow, 1), (GoodRow, 2)]
    assert len(rows[0].text) == 1000


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), JSON_VALUES, max_size=4))
def test_what_is_exported_as_csv_sets_the_same_when_it_is_imported(attributes: dict[str, Any]) -> None:
    person = {"user": "42", "attributes": attributes, "subscriptions": {}, "timeZone": None, "locale": None}
    cells = cells_of(person)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(cells))
    writer.writeheader()
    writer.writerow(cells)
    # Whether a text that reads like a number was one is told by the types: each cell as the person has it.
    types = {column: CellType.TEXT if _is_text(attributes, column) else CellType.AUTO for column in cells}
    del types["user"]
    row = only(from_csv(file.getvalue(), types=types))
    assert isinstance(row, GoodRow), row
    assert _nested(row.change.get("set", {})) == _without_blanks(attributes)


def _value_at(attributes: Any, column: str) -> Any:
    for step in column.split(".")[1:]:
        attributes = attributes[step] if isinstance(attributes, dict) else None
    return attributes


def _is_text(attributes: dict[str, Any], column: str) -> bool:
    return column.startswith("attributes.") and isinstance(_value_at(attributes, column), str)


def _nested(paths: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in paths.items():
        *outer, last = path.split(".")
        holder = nested
        for step in outer:
            holder = holder.setdefault(step, {})
        holder[last] = value
    return nested


def _without_blanks(attributes: dict[str, Any]) -> dict[str, Any]:
    """Leave out texts of spaces only, which no CSV file can tell from an empty cell."""
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        if isinstance(value, dict) and value and all("." not in inner for inner in value):
            inner = _without_blanks(value)
            if inner:
                kept[name] = inner
        elif not isinstance(value, str) or value.strip():
            kept[name] = value
    return kept

"""Exports people page by page: as JSONL, one object a line, or as CSV with a column for each attribute."""

import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO
from urllib.parse import urlencode

from posthorn.cli.client import ApiClient
from posthorn.cli.people_progress import Moved

_PAGE = 250
_DEEPEST = 10


def people_of(client: ApiClient, segment: str | None, moved: Moved) -> Iterator[dict[str, Any]]:
    """Go through the people of a segment, or all. Raises RequestRefused and ServerUnreachable."""
    query: dict[str, Any] = {"limit": _PAGE} | ({"segment": segment} if segment else {})
    done, count = False, 0
    while not done:
        page = client.get(f"/api/v1/profile?{urlencode(query)}")
        yield from page["data"]
        count += len(page["data"])
        moved(count, count)
        done = page["done"] or not page["data"]
        query["iterator"] = page["iterator"]


def write_jsonl(people: Iterator[dict[str, Any]], file: TextIO) -> int:
    """Write a line for each person, and return how many."""
    count = 0
    for person in people:
        file.write(json.dumps(person, ensure_ascii=False) + "\n")
        count += 1
    return count


def columns_of(people: Iterator[dict[str, Any]]) -> list[str]:
    """Return the columns that these people need, in a fixed order."""
    found: set[str] = set()
    for person in people:
        found.update(cells_of(person))
    return ["user", "timeZone", "locale", *sorted(found - {"user", "timeZone", "locale"})]


def write_csv(people: Iterator[dict[str, Any]], columns: list[str], file: TextIO) -> tuple[int, int]:
    """Write a row for each person; return how many, and how many had something that no column was made for."""
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    count, short = 0, 0
    known = set(columns)
    for person in people:
        cells = cells_of(person)
        writer.writerow(cells)
        count += 1
        short += not cells.keys() <= known
    return count, short


def cells_of(person: dict[str, Any]) -> dict[str, str]:
    """Return a person's cells by column, such that an import of them sets the same."""
    cells = {"user": str(person["user"])}
    for name in ("timeZone", "locale"):
        if person.get(name):
            cells[name] = str(person[name])
    for channel, state in (person.get("subscriptions") or {}).items():
        cells[f"subscriptions.{channel}"] = str(state)
    for name, value in (person.get("attributes") or {}).items():
        cells.update(_flat(f"attributes.{name}", value, depth=1))
    return cells


def _flat(column: str, value: Any, *, depth: int) -> Iterator[tuple[str, str]]:
    # A name with a dot in it, and an object without anything, can only be told within their object.
    if isinstance(value, dict) and value and depth < _DEEPEST and all(name and "." not in name for name in value):
        for name, inner in value.items():
            yield from _flat(f"{column}.{name}", inner, depth=depth + 1)
    elif isinstance(value, str):
        yield column, value
    elif value is not None:
        yield column, json.dumps(value, ensure_ascii=False)

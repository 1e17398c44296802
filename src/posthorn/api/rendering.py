"""How things look on the wire: times, bytes, pages."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from posthorn.clock import iso_text

T = TypeVar("T")
Row = TypeVar("Row")


class Out(Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer."""


class ListOut(Out, Generic[T], frozen=True, kw_only=True):
    """A page: give `iterator` back for the next one, `prevIterator` for the one before."""

    data: list[T]
    iterator: str | None
    prev_iterator: str | None
    done: bool


def list_out(rows: Sequence[Row], render: Callable[[Row], T], key: Callable[[Row], str], *, done: bool) -> ListOut[T]:
    """Render a page of rows; `key` is what the list is ordered by."""
    return ListOut(
        data=[render(row) for row in rows],
        iterator=key(rows[-1]) if rows else None,
        prev_iterator=f"-{key(rows[0])}" if rows else None,
        done=done,
    )


def iso_or_none(at_ms: int | None) -> str | None:
    """Write an instant, or nothing."""
    return None if at_ms is None else iso_text(at_ms)


def header_pairs(head: bytes) -> list[tuple[str, str]]:
    """Split header lines, in the order and case in which they came; bytes are read as Latin-1 (RFC 9110, 5.5)."""
    pairs: list[tuple[str, str]] = []
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            pairs.append((name.decode("latin-1"), value.strip().decode("latin-1")))
    return pairs

"""Reading the headers that carry proof of origin.

One rule for repeated headers: copies with the same value count once (some proxies double a header), differing
copies prove nothing, because the next program could read another one than we did. Callers reject those.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_ENOUGH = 2  # Two differing values settle it, and a thousand copies must not cost a million comparisons.


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """Return the first two distinct values of a header, stripped. `name` is in lower case."""
    found: list[bytes] = []
    for candidate, value in headers:
        if candidate.lower() == name:
            stripped = value.strip()
            if len(found) < _ENOUGH and stripped not in found:
                found.append(stripped)
    return found


def values_of_many(headers: Headers, names: frozenset[bytes]) -> dict[bytes, list[bytes]]:
    """Return what `values_of` does for each of these lower-case names that came."""
    found: dict[bytes, list[bytes]] = {}
    for candidate, value in headers:
        name = candidate.lower()
        if name in names:
            values = found.setdefault(name, [])
            stripped = value.strip()
            if len(values) < _ENOUGH and stripped not in values:
                values.append(stripped)
    return found


def first_present(headers: Headers, names: Iterable[bytes]) -> bytes | None:
    """Return the first of these lower-case names that came."""
    present = {name.lower() for name, _ in headers}
    return next((name for name in names if name in present), None)


def ambiguous(name: str) -> str:
    """Say that a header came with differing values."""
    return (
        f"{name} came several times with different values, so none of them can be trusted: "
        "the sender or a proxy on the way adds it again."
    )

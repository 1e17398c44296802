"""User ids in addresses: they may hold any character, a slash too, which the framework would take for a border."""

from urllib.parse import quote, unquote, unquote_to_bytes

from posthorn.receive.http import Scope

_USERS = "/profile/"


def with_exact_user(scope: Scope, prefix: str) -> Scope:
    """Return a scope whose path has the user id behind `<prefix>/profile/` percent-encoded, as one part of it.

    Servers hand paths over decoded (ASGI, "path"), so that `%2F` is no different from a slash; only `raw_path` still
    knows. What is no UTF-8 is left as it is: no user has such an id.
    """
    start = prefix + _USERS
    raw: bytes | None = scope.get("raw_path")
    if raw is None or scope["type"] != "http" or not scope["path"].startswith(start):
        return scope
    path = raw.partition(b"?")[0]
    head, found, rest = path.partition(start.encode())
    if head or not found:
        return scope  # the prefix itself is encoded: nobody writes it so
    user, slash, tail = rest.partition(b"/")
    try:
        exact = quote(unquote_to_bytes(user).decode(), safe="")
        return {**scope, "path": start + exact + slash.decode() + unquote_to_bytes(tail).decode()}
    except UnicodeDecodeError:
        return scope


def user_in(part: str) -> str:
    """Return the user id that a part of a path stands for."""
    return unquote(part)

"""Claims that callers make: Idempotency-Key, event ids, a source's dedupe keys."""

from hashlib import sha256

from posthorn.clock import DAY_MS
from posthorn.engine.records import Claim
from posthorn.errors import Invalid
from posthorn.receive.http import Headers, Scope, header

KEY_KEPT_MS = DAY_MS
ID_KEPT_MS = 30 * DAY_MS
_LONGEST_KEY = 256


def key_scope(workspace: str) -> str:
    """Name the scope of a workspace's Idempotency-Keys."""
    return f"key:{workspace}"


def batch_scope(workspace: str) -> str:
    """Name the scope of what a workspace's batches claim for each of their parts."""
    return f"batch:{workspace}"


def call_fingerprint(method: str, path: str, query: bytes, body: bytes) -> bytes:
    """Tell two calls under the same key apart."""
    digest = sha256(f"{method} {path.rstrip('/')}?".encode())
    digest.update(query)
    digest.update(b"\n")
    digest.update(body)
    return digest.digest()


def fingerprint_of(scope: Scope, body: bytes) -> bytes:
    """Fingerprint a call."""
    return call_fingerprint(scope["method"], scope["path"], scope["query_string"], body)


def idempotency_key(headers: Headers) -> str | None:
    """Return the Idempotency-Key of a call. Raises Invalid when it is unusable."""
    value = header(headers, b"idempotency-key")
    if value is None:
        return None
    key = value.decode("latin-1").strip()
    if not key or len(key) > _LONGEST_KEY:
        raise Invalid.at("header", "idempotency-key", msg=f"must have 1 to {_LONGEST_KEY} characters")
    return key


def key_claim(
    scope: Scope, workspace: str, body: bytes, *, status: int, answer: bytes, event: str | None, now_ms: int
) -> Claim | None:
    """Make the claim of a call that carries an Idempotency-Key."""
    key = idempotency_key(scope["headers"])
    if key is None:
        return None
    return Claim(
        scope=key_scope(workspace),
        key=key,
        fingerprint=fingerprint_of(scope, body),
        answer_status=status,
        answer_body=answer,
        event=event,
        expires_ms=now_ms + KEY_KEPT_MS,
    )

"""How text becomes bytes in secrets and signatures: decided once, here.

- Hexadecimal: either case, an even number of digits, nothing between them.
- Base64 (RFC 4648 section 4) and base64url (section 5): only the characters of the declared alphabet, padding
  optional, no white space inside. In a signature the unused bits of the last character must be zero, so that
  one signature has one spelling.

Nothing here raises: text that does not decode is None.
"""

from binascii import Error, a2b_base64, b2a_base64, unhexlify

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")  # "!" is in neither alphabet, so that mixing them fails


def from_hex(text: bytes) -> bytes | None:
    """Decode hexadecimal digits of either case."""
    try:
        return unhexlify(text)
    except Error:
        return None


def from_base64(text: bytes, *, url_safe: bool = False, canonical: bool = True) -> bytes | None:
    """Decode base64 with or without padding; `canonical` also wants the unused last bits to be zero."""
    padded = text.translate(_FROM_URL) if url_safe else text
    padded += b"=" * (-len(padded) % 4)
    try:
        raw = a2b_base64(padded, strict_mode=True)
    except Error:
        return None
    return raw if not canonical or b2a_base64(raw, newline=False) == padded else None


def to_base64(raw: bytes, *, url_safe: bool = False) -> str:
    """Encode as padded base64."""
    text = b2a_base64(raw, newline=False)
    return str(text.translate(_TO_URL) if url_safe else text, "ascii")


def utf8(text: str) -> bytes:
    """Encode as UTF-8 without ever raising: a lone surrogate keeps its own, unmatchable spelling."""
    return text.encode("utf-8", "surrogatepass")

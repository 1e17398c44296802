"""Filters that digest, sign and encode: what connectors and Braze's templates need beyond Shopify's set.

Names and published results: Braze, "Advanced filters". All of them read text as UTF-8.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final
from urllib.parse import quote, quote_plus

from posthorn.templating.failures import Fault
from posthorn.templating.printing import JsonInside, UrlText, json_inside, json_text, liquid_text

# RFC 2396's reserved and unreserved characters, which is what Ruby's URI.escape leaves alone.
_URL_CHARACTERS: Final = "-_.!~*'();/?:@&=+$,[]"
_NUMBER: Final = re.compile(r"[+-]?\d{1,300}(\.\d{1,300})?")
_WORD_EDGE: Final = re.compile(r"[^0-9A-Za-z]+")
_NOT_IN_HANDLE: Final = re.compile(r"[\W_]+")


def _digest(algorithm: str) -> Callable[[str], str]:
    def digest(value: str) -> str:
        # MD5 and SHA-1 are what vendors ask for; nothing of ours rests on them.
        return hashlib.new(algorithm, value.encode(), usedforsecurity=False).hexdigest()

    return digest


def _signature(algorithm: str, *, as_base64: bool) -> Callable[[str, object], str]:
    def sign(value: str, key: object) -> str:
        made = hmac.digest(liquid_text(key).encode(), value.encode(), algorithm)
        return base64.b64encode(made).decode() if as_base64 else made.hex()

    return sign


def _url_escape(value: str) -> UrlText:
    return UrlText(quote(value, safe=_URL_CHARACTERS))


def _url_param_escape(value: str) -> UrlText:
    return UrlText(quote(value, safe=""))


def url_encode_once(value: str) -> UrlText:
    """Encode like a form (a space becomes +), marked so that a URL template does not encode it again."""
    return UrlText(quote_plus(value))


def _json_escape(value: str) -> JsonInside:
    return JsonInside(json_inside(value))


def _camelize(value: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in _WORD_EDGE.split(value))


def _handleize(value: str) -> str:
    return _NOT_IN_HANDLE.sub("-", value.lower()).strip("-")


def _json_parse(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise Fault("the text is not JSON") from None


def lenient_json_parse(value: object) -> object:
    """Decode JSON; nil for what is none."""
    try:
        return _json_parse(value)
    except Fault:
        return None


def _no_json(name: str) -> object:
    raise ValueError(name)


def _property_accessor(value: object, key: object) -> object:
    if isinstance(value, Mapping):
        return value.get(key if isinstance(key, str) else liquid_text(key))
    if isinstance(value, (list, tuple)) and isinstance(key, int) and -len(value) <= key < len(value):
        return value[key]
    return None


def _number_with_delimiter(value: object, delimiter: object = ",") -> str:
    text = liquid_text(value)
    if not _NUMBER.fullmatch(text):
        return text
    whole, point, fraction = text.lstrip("+-").partition(".")
    sign = "-" if text.startswith("-") else ""
    return f"{sign}{int(whole):,}".replace(",", liquid_text(delimiter)) + point + fraction


def _money(value: object) -> str:
    """Print two decimals without dividing by 100, as Braze does; what is no number stays as it is."""
    text = liquid_text(value)
    try:
        amount = Decimal(text.strip())
        return str(amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)) if amount.is_finite() else text
    except InvalidOperation:
        return text


def _pluralize(value: object, singular: object, plural: object) -> str:
    return liquid_text(singular if value in (1, "1") else plural)


TEXT_ENCODINGS: Final[dict[str, Callable[..., object]]] = {
    "camelcase": _camelize,
    "camelize": _camelize,
    "handle": _handleize,
    "handleize": _handleize,
    "hmac_sha1": _signature("sha1", as_base64=False),
    "hmac_sha1_base64": _signature("sha1", as_base64=True),
    "hmac_sha1_hex": _signature("sha1", as_base64=False),
    "hmac_sha256": _signature("sha256", as_base64=False),
    "hmac_sha256_base64": _signature("sha256", as_base64=True),
    "hmac_sha256_hex": _signature("sha256", as_base64=False),
    "hmac_sha512": _signature("sha512", as_base64=False),
    "hmac_sha512_base64": _signature("sha512", as_base64=True),
    "hmac_sha512_hex": _signature("sha512", as_base64=False),
    "json_escape": _json_escape,
    "md5": _digest("md5"),
    "sha1": _digest("sha1"),
    "sha2": _digest("sha256"),
    "sha256": _digest("sha256"),
    "sha512": _digest("sha512"),
    "url_escape": _url_escape,
    "url_param_escape": _url_param_escape,
}

VALUE_ENCODINGS: Final[dict[str, Callable[..., object]]] = {
    "as_json_string": json_text,
    "json_parse": _json_parse,
    "money": _money,
    "number_with_delimiter": _number_with_delimiter,
    "pluralize": _pluralize,
    "property_accessor": _property_accessor,
}

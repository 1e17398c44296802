"""Reading the answer to a token exchange."""

from typing import Final

from msgspec import Struct

from posthorn.connectors.connector import TokenExchange
from posthorn.connectors.judging import Headers, Judgement, JudgementKind, Seen, judge

_EARLY_SECONDS: Final = 60
_LONGEST_SECONDS: Final = 30 * 24 * 3600


class Token(Struct, frozen=True, kw_only=True):
    """A short-lived token and how long it may be used, with a minute to spare."""

    value: str
    usable_seconds: int

    def __repr__(self) -> str:
        return f"Token(usable_seconds={self.usable_seconds})"


def read_token(exchange: TokenExchange, status: int, headers: Headers, body: bytes) -> Token | Judgement:
    """Return the token of an answer, or what the answer means if there is none in it."""
    judgement = judge(exchange.answer, status, headers, body)
    if judgement.kind is not JudgementKind.SUCCESS:
        return judgement
    seen = Seen(status, headers, body)
    value = seen.at(exchange.value)
    if not isinstance(value, str) or not value or not value.isprintable():
        return Judgement(kind=JudgementKind.RETRY, reason=f"HTTP {status}: the answer holds no token")
    told = seen.at(exchange.expires_in) if exchange.expires_in is not None else None
    seconds = exchange.lifetime_seconds
    if isinstance(told, (int, float)) and not isinstance(told, bool):
        seconds = int(min(max(told, 0), _LONGEST_SECONDS))
    return Token(value=value, usable_seconds=max(seconds - _EARLY_SECONDS, 0))

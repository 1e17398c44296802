"""Which requests carry events: Segment's batch call for people's doings, our own call for plain events. Pure."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from posthorn.client.errors import InvalidCall

_GZIP_LEVEL = 3  # a batch of JSON shrinks to a tenth already, in a quarter of the time of level 9


class LaneName(StrEnum):
    """Tracking and published events wait apart: trouble with one key does not hold up the other."""

    TRACKING = "tracking"
    EVENTS = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A POST to make. The headers hold a credential and are not in the repr."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Where the events of one kind go."""

    name: LaneName
    url: str
    authorization: str = field(repr=False)
    gzip_from_bytes: int | None

    def request(self, bodies: Sequence[bytes], *, sent_at: str) -> Request:
        """Make the request for these events. `sent_at` lets the server correct the clock of a tracking client."""
        joined = b",".join(bodies)
        if self.name is LaneName.TRACKING:
            body = b'{"batch":[' + joined + b'],"sentAt":"' + sent_at.encode() + b'"}'
        else:
            body = b"[" + joined + b"]"
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "authorization": self.authorization,
            "content-type": "application/json",
        }
        if self.gzip_from_bytes is not None and len(body) >= self.gzip_from_bytes:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["content-encoding"] = "gzip"
        return Request(url=self.url, headers=headers, body=body)


def tracking_lane(url: str, write_key: str, *, gzip_from_bytes: int | None) -> Lane:
    """Send to `POST /v1/batch` with the write key as the user of Basic authentication, as Segment's libraries do.

    Source: Segment's HTTP tracking API. Raises InvalidCall when the URL or the key cannot be one.
    """
    if ":" in _credential("write_key", write_key):
        raise InvalidCall("a write_key has no colon")
    token = base64.b64encode(f"{write_key}:".encode()).decode()
    return Lane(
        name=LaneName.TRACKING,
        url=f"{_base(url)}/v1/batch",
        authorization=f"Basic {token}",
        gzip_from_bytes=gzip_from_bytes,
    )


def event_lane(url: str, api_key: str) -> Lane:
    """Send to `POST /api/v1/event` with a Bearer key. Raises InvalidCall when the URL or the key cannot be one.

    That call takes no compressed bodies.
    """
    return Lane(
        name=LaneName.EVENTS,
        url=f"{_base(url)}/api/v1/event",
        authorization=f"Bearer {_credential('api_key', api_key)}",
        gzip_from_bytes=None,
    )


def _credential(name: str, value: str) -> str:
    # The value stays out of the message: messages end in logs.
    if not value or not all("!" <= character <= "~" for character in value):
        raise InvalidCall(f"{name} must be printable ASCII without spaces; was it read from an empty setting?")
    return value


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise InvalidCall("url must be like https://posthorn.example.com, without user, query or fragment")
    return url.rstrip("/")

"""Content that templates ask for: the guarded transport, keeping, and leaving a silent host alone."""

import base64

import pytest

from posthorn.deliver.content import ContentFetcher
from posthorn.deliver.transport.failures import FailureCode
from posthorn.telemetry import Telemetry
from posthorn.templating import MAX_CONTENT_BYTES, ContentRequest
from posthorn.testing.clock import ManualClock
from posthorn.testing.transport import RecordingTransport, failure, response

SECRETS = {("ws", "login"): "user:pass", ("ws", "token"): "T0"}


class Fetching:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.transport = RecordingTransport()
        self.fetcher = ContentFetcher(
            transport=self.transport,
            credential=lambda workspace, name: SECRETS.get((workspace, name)),
            clock=self.clock,
            telemetry=Telemetry(strict=True),
        )

    async def fetch(self, url: str = "https://a.test/x", *, workspace: str = "ws", **fields: object) -> str | None:
        request = ContentRequest(**({"method": "GET", "url": url} | fields))  # type: ignore[arg-type]
        answer = await self.fetcher.fetch(workspace, request)
        return answer.body if answer.status else None


@pytest.fixture
def fetching() -> Fetching:
    return Fetching()


async def test_an_answer_is_kept_for_as_long_as_the_template_says_and_for_its_workspace_alone(
    fetching: Fetching,
) -> None:
    bodies = [b"one", b"two", b"three"]
    fetching.transport.script(*(response(200, body=body) for body in bodies))
    assert await fetching.fetch(cache_seconds=300) == "one"
    fetching.clock.advance(299)
    assert await fetching.fetch(cache_seconds=300) == "one"
    assert await fetching.fetch(workspace="other", cache_seconds=300) == "two"
    fetching.clock.advance(2)
    assert await fetching.fetch(cache_seconds=300) == "three"


async def test_a_fresh_answer_is_fetched_each_time_where_the_author_asks_for_it(fetching: Fetching) -> None:
    fetching.transport.script(*(response(200, body=body) for body in (b"1", b"2")))
    assert [await fetching.fetch(cache_seconds=300, no_cache=True) for _ in range(2)] == ["1", "2"]


async def test_a_host_that_gives_no_answer_is_left_alone_for_a_while(fetching: Fetching) -> None:
    fetching.transport.script(failure(FailureCode.TIMEOUT), response(200, body=b"back"))
    assert await fetching.fetch() is None
    assert await fetching.fetch("https://a.test/other") is None
    assert len(fetching.transport.requests) == 1
    fetching.clock.advance(31)
    assert await fetching.fetch() == "back"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"basic_auth": "login"}, b"Basic " + base64.b64encode(b"user:pass")),
        ({"auth_credentials": "token"}, b"Bearer T0"),
    ],
)
async def test_credentials_are_secrets_by_name(fetching: Fetching, fields: dict[str, str], expected: bytes) -> None:
    await fetching.fetch(**fields)
    assert dict(fetching.transport.requests[0].headers)[b"authorization"] == expected


async def test_without_its_credential_nothing_is_sent(fetching: Fetching) -> None:
    assert await fetching.fetch(basic_auth="unknown") is None
    assert await fetching.fetch(workspace="other", auth_credentials="token") is None
    assert fetching.transport.requests == []


@pytest.mark.parametrize("url", ["ftp://a.test/", "https://user:pw@a.test/", "nonsense"])
async def test_an_address_that_nothing_is_sent_to_is_no_content(fetching: Fetching, url: str) -> None:
    assert await fetching.fetch(url) is None
    assert fetching.transport.requests == []


async def test_an_answer_that_is_no_text_or_too_long_is_no_content(fetching: Fetching) -> None:
    cut = response(200, body=b"x" * 10)
    fetching.transport.script(response(200, body=b"\xff"), type(cut)(**{**_fields(cut), "truncated": True}))
    assert await fetching.fetch() is None
    assert await fetching.fetch("https://b.test/") is None
    assert fetching.transport.requests[0].read_limit_bytes == MAX_CONTENT_BYTES


def _fields(struct: object) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}  # type: ignore[attr-defined]

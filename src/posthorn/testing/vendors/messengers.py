"""Doubles of messengers: Telegram, VK, Viber, LINE, Kik."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import (
    Call,
    Received,
    Reply,
    Schema,
    Vendor,
    accepted,
    basic,
    bearer,
    retry,
    stop,
    with_header,
    with_path,
)


class _TelegramMessage(Schema, frozen=True, kw_only=True):
    chat_id: int | Annotated[str, Meta(min_length=1)]
    text: Annotated[str, Meta(min_length=1, max_length=4096)]
    parse_mode: Literal["HTML", "MarkdownV2"] | msgspec.UnsetType = msgspec.UNSET
    reply_markup: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def _telegram_error(code: int, text: str, **parameters: int) -> dict[str, Any]:
    extra = {"parameters": parameters} if parameters else {}
    return {"ok": False, "error_code": code, "description": text, **extra}


_TELEGRAM_TOKEN = "220201543:BBHdqTcvCH1vGWJxfSeofSAs0K5PALDs-_"  # noqa: S105 - an account of the double

TELEGRAM = Vendor(
    connector="telegram",
    host="api.telegram.org",
    credentials={"token": _TELEGRAM_TOKEN},
    authorized=with_path(f"/bot{_TELEGRAM_TOKEN}/"),
    unauthorized=stop(_telegram_error(401, "Unauthorized"), status=401),
    calls=(
        Call(
            action="test",
            method="GET",
            path="/bot[^/]+/getMe",
            answer=Reply(body={"ok": True, "result": {"id": 220201543, "is_bot": True, "first_name": "Shop"}}),
        ),
        Call(
            action="send_message",
            path="/bot[^/]+/sendMessage",
            json=_TelegramMessage,
            spoken="text",
            answer=Reply(body={"ok": True, "result": {"message_id": 5, "date": 1, "chat": {"id": 987654321}}}),
            invalid=Reply(status=400, body=_telegram_error(400, "Bad Request: message text is empty")),
            troubles={
                "too many requests": retry(
                    _telegram_error(429, "Too Many Requests: retry after 7", retry_after=7), status=429, after=7
                ),
                "blocked by the user": stop(_telegram_error(403, "Forbidden: bot was blocked by the user"), status=403),
                "chat not found": stop(_telegram_error(400, "Bad Request: chat not found"), status=400),
                "bad gateway": retry(b"<html>502</html>", status=502),
                "failure in a 200": stop(_telegram_error(400, "Bad Request")),
            },
        ),
    ),
)


class _VkMessage(Schema, frozen=True, kw_only=True):
    peer_id: int
    random_id: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    message: Annotated[str, Meta(min_length=1, max_length=9000)]
    v: Literal["5.199"]
    access_token: str
    attachment: str | msgspec.UnsetType = msgspec.UNSET


class _VkGroup(Schema, frozen=True, kw_only=True):
    v: Literal["5.199"]
    access_token: str


def _vk_error(code: int, text: str) -> dict[str, Any]:
    return {"error": {"error_code": code, "error_msg": text, "request_params": []}}


_VK_TOKEN = "vk1.a.other&token=1"  # noqa: S105 - an account of the double; it has to be encoded in a form

VK = Vendor(
    connector="vk",
    host="api.vk.com",
    credentials={"token": _VK_TOKEN},
    authorized=lambda received: received.fields().get("access_token") == _VK_TOKEN,
    unauthorized=stop(_vk_error(5, "User authorization failed: invalid access_token (4).")),
    calls=(
        Call(
            action="test",
            path="/method/groups.getById",
            form=_VkGroup,
            answer=Reply(body={"response": {"groups": [{"id": 1, "name": "Shop"}], "profiles": []}}),
        ),
        Call(
            action="send_message",
            path="/method/messages.send",
            form=_VkMessage,
            spoken="text",
            answer=Reply(body={"response": 517}),
            invalid=Reply(body=_vk_error(100, "One of the parameters specified was missing or invalid")),
            troubles={
                "too many requests in a 200": retry(_vk_error(6, "Too many requests per second")),
                "internal error in a 200": retry(_vk_error(10, "Internal server error")),
                "no consent in a 200": stop(_vk_error(901, "Can't send messages for users without permission")),
                "blacklisted in a 200": stop(_vk_error(900, "Can't send messages for users from blacklist")),
            },
        ),
    ),
)


class _ViberSender(Schema, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=28)]
    avatar: str | msgspec.UnsetType = msgspec.UNSET


class _ViberMessage(Schema, frozen=True, kw_only=True):
    receiver: Annotated[str, Meta(min_length=1)]
    type: Literal["text"]
    sender: _ViberSender
    text: Annotated[str, Meta(min_length=1, max_length=7000)]
    min_api_version: int = 1
    tracking_data: str = ""


class _Empty(Schema, frozen=True, kw_only=True):
    pass


def _viber(status: int, text: str) -> dict[str, Any]:
    return {"status": status, "status_message": text, "chat_hostname": "SN-CHAT-05_"}


VIBER = Vendor(
    connector="viber",
    host="chatapi.viber.com",
    credentials={"token": "4453b6ac-other-token"},
    authorized=with_header("x-viber-auth-token", "4453b6ac-other-token"),
    unauthorized=stop(_viber(2, "invalidAuthToken")),
    calls=(
        Call(action="test", path="/pa/get_account_info", json=_Empty, answer=Reply(body=_viber(0, "ok"))),
        Call(
            action="send_message",
            path="/pa/send_message",
            json=_ViberMessage,
            spoken="text",
            answer=Reply(body={**_viber(0, "ok"), "message_token": 5741311803571721087}),
            invalid=Reply(body=_viber(3, "badData")),
            troubles={
                "too many requests in a 200": retry(_viber(12, "tooManyRequests")),
                "not subscribed in a 200": stop(_viber(6, "receiverNotSubscribed")),
                "no balance in a 200": stop(_viber(24, "noBalance")),
                "general error in a 200": retry(_viber(999, "generalError")),
            },
        ),
    ),
)


class _LineText(Schema, frozen=True, kw_only=True, tag="text", tag_field="type"):
    text: Annotated[str, Meta(min_length=1, max_length=5000)]


class _LineSticker(Schema, frozen=True, kw_only=True, tag="sticker", tag_field="type"):
    packageId: str  # noqa: N815 - LINE's name
    stickerId: str  # noqa: N815 - LINE's name


class _LinePush(Schema, frozen=True, kw_only=True):
    to: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[_LineText | _LineSticker], Meta(min_length=1, max_length=5)]
    notificationDisabled: bool = False  # noqa: N815 - LINE's name


def _line_key(received: Received, _now_ms: int) -> str | None:
    try:
        UUID(received.headers.get("x-line-retry-key", ""))
    except ValueError:
        return "X-Line-Retry-Key is no UUID"
    return None


def _line_push(action: str, spoken: str | None) -> Call:
    return Call(
        action=action,
        path="/v2/bot/message/push",
        json=_LinePush,
        spoken=spoken,
        check=_line_key,
        answer=Reply(body={"sentMessages": [{"id": "461230966842064897"}]}),
        invalid=Reply(status=400, body={"message": "The request body has 1 error(s)", "details": []}),
        troubles={
            "accepted before": accepted(
                {"message": "The retry key is already accepted", "sentMessages": [{"id": "1"}]}, status=409
            ),
            "monthly limit": stop({"message": "You have reached your monthly limit."}, status=429),
            "rate limit": retry({"message": "The API rate limit has been exceeded."}, status=429),
            "server error": retry({"message": "Internal server error"}, status=500),
        },
    )


LINE = Vendor(
    connector="line",
    host="api.line.me",
    credentials={"token": "other/line+token="},
    authorized=bearer("other/line+token="),
    unauthorized=stop({"message": "Authentication failed. Confirm that the access token is valid."}, status=401),
    calls=(
        Call(action="test", method="GET", path="/v2/bot/info", answer=Reply(body={"userId": "Ub9", "basicId": "@1"})),
        _line_push("send_text", "text"),
        _line_push("send_messages", None),
    ),
)


class _KikMessage(Schema, frozen=True, kw_only=True):
    type: Literal["text"]
    to: Annotated[str, Meta(min_length=1)]
    body: Annotated[str, Meta(min_length=1)]
    chatId: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - Kik's name


class _KikMessages(Schema, frozen=True, kw_only=True):
    messages: Annotated[list[_KikMessage], Meta(min_length=1, max_length=25)]


KIK = Vendor(
    connector="kik",
    host="api.kik.com",
    credentials={"username": "otherbot", "api_key": "b8f9-other"},
    authorized=basic("otherbot", "b8f9-other"),
    unauthorized=stop({"error": "Unauthorized", "message": "Authentication failed"}, status=401),
    calls=(
        Call(action="test", method="GET", path="/v1/config", answer=Reply(body={"webhook": "https://x.example"})),
        Call(
            action="send_text",
            path="/v1/message",
            json=_KikMessages,
            spoken="text",
            answer=Reply(body={}),
            troubles={
                "not a subscriber": stop({"error": "Forbidden", "message": "Cannot send to user"}, status=403),
                "rate limit": retry({"error": "TooManyRequests", "message": "slow down"}, status=429),
            },
        ),
    ),
)


MESSENGERS = (TELEGRAM, VK, VIBER, LINE, KIK)

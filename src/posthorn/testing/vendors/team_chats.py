"""Doubles of the team chats, and of WeChat with them: Slack, Discord, WeCom, DingTalk, Feishu, WeChat."""

import base64
import hashlib
import hmac
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import (
    Call,
    Received,
    Reply,
    Schema,
    Vendor,
    bearer,
    retry,
    stop,
    with_parameter,
    with_path,
)

_HOUR_MS = 3_600_000


class _Empty(Schema, frozen=True, kw_only=True):
    pass


class _SlackMessage(Schema, frozen=True, kw_only=True):
    channel: Annotated[str, Meta(min_length=1)]
    text: Annotated[str, Meta(min_length=1, max_length=40_000)]
    blocks: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    thread_ts: str | msgspec.UnsetType = msgspec.UNSET


SLACK = Vendor(
    connector="slack",
    host="slack.com",
    credentials={"token": "xoxb-1111-other"},
    authorized=bearer("xoxb-1111-other"),
    unauthorized=stop({"ok": False, "error": "invalid_auth"}),
    calls=(
        Call(action="test", path="/api/auth.test", json=_Empty, answer=Reply(body={"ok": True, "team": "Shop"})),
        Call(
            action="send_message",
            path="/api/chat.postMessage",
            json=_SlackMessage,
            spoken="text",
            answer=Reply(body={"ok": True, "channel": "C0123456789", "ts": "1503435956.000247"}),
            invalid=Reply(body={"ok": False, "error": "invalid_arguments"}),
            troubles={
                "rate limit": retry({"ok": False, "error": "ratelimited"}, status=429, after=30, Retry_After="30"),
                "rate limit in a 200": retry({"ok": False, "error": "ratelimited"}),
                "internal error in a 200": retry({"ok": False, "error": "internal_error"}),
                "not in channel in a 200": stop({"ok": False, "error": "not_in_channel"}),
                "no text in a 200": stop({"ok": False, "error": "no_text"}),
            },
        ),
    ),
)


class _SlackHook(Schema, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=40_000)]
    blocks: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


SLACK_WEBHOOK = Vendor(
    connector="slack_webhook",
    host="hooks.slack.com",
    credentials={"path": "T1/B2/other"},
    authorized=with_path("/services/T1/B2/other"),
    unauthorized=stop(b"no_team", status=404),
    calls=(
        Call(
            action="send_message",
            path="/services/[^/]+/[^/]+/[^/]+",
            json=_SlackHook,
            spoken="text",
            answer=Reply(body=b"ok"),
            invalid=Reply(status=400, body=b"invalid_payload"),
            troubles={
                "archived": stop(b"channel_is_archived", status=410),
                "rate limit": retry(b"rate_limited", status=429, after=1, Retry_After="1"),
                "rollup error": retry(b"rollup_error", status=500),
            },
        ),
    ),
)


class _DiscordMentions(Schema, frozen=True, kw_only=True):
    parse: list[Literal["roles", "users", "everyone"]]


class _DiscordMessage(Schema, frozen=True, kw_only=True):
    content: Annotated[str, Meta(min_length=1, max_length=2000)]
    allowed_mentions: _DiscordMentions
    username: Annotated[str, Meta(min_length=1, max_length=80)] | msgspec.UnsetType = msgspec.UNSET
    embeds: Annotated[list[dict[str, Any]], Meta(max_length=10)] | msgspec.UnsetType = msgspec.UNSET


class _Wait(Schema, frozen=True, kw_only=True):
    wait: Literal["true"]


DISCORD = Vendor(
    connector="discord",
    host="discord.com",
    credentials={"webhook_id": "323704706495545344", "token": "other-3d89bb_75"},
    authorized=with_path("/api/webhooks/323704706495545344/other-3d89bb_75"),
    unauthorized=stop({"message": "Invalid Webhook Token", "code": 50027}, status=401),
    calls=(
        Call(
            action="test",
            method="GET",
            path="/api/webhooks/[0-9]+/[^/]+",
            answer=Reply(body={"id": "323704706495545344", "name": "Shop", "type": 1}),
        ),
        Call(
            action="send_message",
            path="/api/webhooks/[0-9]+/[^/]+",
            query=_Wait,
            json=_DiscordMessage,
            spoken="text",
            answer=Reply(body={"id": "1100000000000000000", "type": 0, "content": "Hello"}),
            invalid=Reply(status=400, body={"code": 50035, "message": "Invalid Form Body", "errors": {}}),
            troubles={
                "rate limit": retry(
                    {"message": "You are being rate limited.", "retry_after": 0.65, "global": False},
                    status=429,
                    after=1,
                    Retry_After="1",
                ),
                "rate limit by header": retry(b"", status=429, after=2.5, X_RateLimit_Reset_After="2.5"),
                "webhook is gone": stop({"message": "Unknown Webhook", "code": 10015}, status=404),
            },
        ),
    ),
)


class _WeComTextContent(Schema, frozen=True, kw_only=True):
    content: Annotated[str, Meta(min_length=1)]
    mentioned_mobile_list: list[str] | msgspec.UnsetType = msgspec.UNSET


class _WeComText(Schema, frozen=True, kw_only=True):
    msgtype: Literal["text"]
    text: _WeComTextContent


class _Content(Schema, frozen=True, kw_only=True):
    content: Annotated[str, Meta(min_length=1)]


class _WeComMarkdown(Schema, frozen=True, kw_only=True):
    msgtype: Literal["markdown"]
    markdown: _Content


class _Key(Schema, frozen=True, kw_only=True):
    key: str


def _at_most(limit: int) -> Any:
    def check(received: Received, _now_ms: int) -> str | None:
        document = msgspec.json.decode(received.body)
        content = document[document["msgtype"]]["content"]
        return f"the content is longer than {limit} bytes" if len(content.encode()) > limit else None

    return check


def _errcode(code: int, text: str) -> dict[str, Any]:
    return {"errcode": code, "errmsg": text}


_WECOM_TROUBLES = {
    "too often in a 200": retry(_errcode(45009, "api freq out of limit")),
    "system busy in a 200": retry(_errcode(-1, "system busy")),
    "content too long in a 200": stop(_errcode(40058, "invalid Request Parameter")),
}

WECOM = Vendor(
    connector="wecom",
    host="qyapi.weixin.qq.com",
    credentials={"key": "793a91f6-other"},
    authorized=with_parameter("key", "793a91f6-other"),
    unauthorized=stop(_errcode(93000, "invalid webhook url, hint: [1]")),
    calls=(
        Call(
            action="send_text",
            path="/cgi-bin/webhook/send",
            query=_Key,
            json=_WeComText,
            spoken="text",
            check=_at_most(2048),
            answer=Reply(body=_errcode(0, "ok")),
            invalid=Reply(body=_errcode(40008, "invalid message type")),
            troubles=_WECOM_TROUBLES,
        ),
        Call(
            action="send_markdown",
            path="/cgi-bin/webhook/send",
            query=_Key,
            json=_WeComMarkdown,
            spoken="text",
            check=_at_most(4096),
            answer=Reply(body=_errcode(0, "ok")),
            invalid=Reply(body=_errcode(40008, "invalid message type")),
            troubles=_WECOM_TROUBLES,
        ),
    ),
)


class _DingTalkAt(Schema, frozen=True, kw_only=True):
    atMobiles: list[str] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - DingTalk's name
    isAtAll: bool = False  # noqa: N815 - DingTalk's name


class _DingTalkText(Schema, frozen=True, kw_only=True):
    msgtype: Literal["text"]
    text: _Content
    at: _DingTalkAt | msgspec.UnsetType = msgspec.UNSET


class _DingTalkQuery(Schema, frozen=True, kw_only=True):
    access_token: str
    timestamp: int
    sign: str


_DINGTALK_SECRET = "SECother"  # noqa: S105 - an account of the double


def _base64_hmac(key: str, message: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def _dingtalk_signature(received: Received, now_ms: int) -> str | None:
    query = received.parameters()
    if abs(now_ms - int(query["timestamp"])) > _HOUR_MS:
        return "the timestamp is older than an hour"
    wanted = _base64_hmac(_DINGTALK_SECRET, f"{query['timestamp']}\n{_DINGTALK_SECRET}")
    return None if hmac.compare_digest(wanted, query["sign"]) else "the signature is wrong"


DINGTALK = Vendor(
    connector="dingtalk",
    host="oapi.dingtalk.com",
    credentials={"token": "666cc69da782ec33", "secret": _DINGTALK_SECRET},
    authorized=with_parameter("access_token", "666cc69da782ec33"),
    unauthorized=stop(_errcode(300005, "token is not exist")),
    calls=(
        Call(
            action="send_text",
            path="/robot/send",
            query=_DingTalkQuery,
            json=_DingTalkText,
            spoken="text",
            check=_dingtalk_signature,
            answer=Reply(body=_errcode(0, "ok")),
            invalid=Reply(body=_errcode(310000, "sign not match")),
            troubles={
                "too fast in a 200": retry(_errcode(130101, "send too fast, exceed 20 times per minute")),
                "busy in a 200": retry(_errcode(-1, "系统繁忙")),
                "keyword missing in a 200": stop(_errcode(310000, "keywords not in content")),
            },
        ),
    ),
)


class _FeishuContent(Schema, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1)]


class _FeishuSigned(Schema, frozen=True, kw_only=True):
    timestamp: Annotated[str, Meta(pattern=r"\A[0-9]{10}\Z")]
    sign: str


class _FeishuText(_FeishuSigned, frozen=True, kw_only=True):
    msg_type: Literal["text"]
    content: _FeishuContent


class _FeishuCard(_FeishuSigned, frozen=True, kw_only=True):
    msg_type: Literal["interactive"]
    card: dict[str, Any]


_FEISHU_SECRET = "otherFeishuSecret"  # noqa: S105 - an account of the double


def _feishu_signature(received: Received, now_ms: int) -> str | None:
    body = msgspec.json.decode(received.body)
    if abs(now_ms // 1000 - int(body["timestamp"])) > 3600:
        return "the timestamp is older than an hour"
    wanted = _base64_hmac(f"{body['timestamp']}\n{_FEISHU_SECRET}", "")
    return None if hmac.compare_digest(wanted, body["sign"]) else "the signature is wrong"


_FEISHU_TROUBLES = {
    "too often in a 200": retry({"code": 11232, "msg": "frequency limited psm", "data": {}}),
    "signature in a 200": stop({"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}),
    "keyword in a 200": stop({"code": 19024, "msg": "Key Words Not Found", "data": {}}),
}


def _feishu_call(action: str, schema: type[Schema], spoken: str | None) -> Call:
    return Call(
        action=action,
        path="/open-apis/bot/v2/hook/[^/]+",
        json=schema,
        spoken=spoken,
        check=_feishu_signature,
        answer=Reply(body={"code": 0, "msg": "success", "data": {}, "StatusCode": 0, "StatusMessage": "success"}),
        invalid=Reply(status=400, body={"code": 9499, "msg": "Bad Request", "data": {}}),
        troubles=_FEISHU_TROUBLES,
    )


FEISHU = Vendor(
    connector="feishu",
    host="open.larksuite.com",
    credentials={"host": "open.larksuite.com", "token": "e8e7c6b5-other", "secret": _FEISHU_SECRET},
    authorized=with_path("/hook/e8e7c6b5-other"),
    unauthorized=stop({"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}),
    calls=(
        _feishu_call("send_text", _FeishuText, "text"),
        _feishu_call("send_card", _FeishuCard, None),
    ),
)


class _WeChatMessage(Schema, frozen=True, kw_only=True):
    touser: Annotated[str, Meta(min_length=1)]
    msgtype: Literal["text"]
    text: _Content


class _WeChatToken(Schema, frozen=True, kw_only=True):
    grant_type: Literal["client_credential"]
    appid: Literal["wx620c15f417810387"]
    secret: Literal['app"secret']
    force_refresh: bool = False


class _AccessToken(Schema, frozen=True, kw_only=True):
    access_token: str


_WECHAT_TOKEN = "62_short/lived+token"  # noqa: S105 - an account of the double

WECHAT = Vendor(
    connector="wechat",
    host="api.weixin.qq.com",
    credentials={"app_id": "wx620c15f417810387", "app_secret": 'app"secret'},
    token=_WECHAT_TOKEN,
    authorized=with_parameter("access_token", _WECHAT_TOKEN),
    unauthorized=retry(_errcode(40001, "invalid credential, access_token is invalid or not latest")),
    calls=(
        Call(
            action="token",
            path="/cgi-bin/stable_token",
            json=_WeChatToken,
            answer=Reply(body={"access_token": _WECHAT_TOKEN, "expires_in": 7200}),
            invalid=Reply(body=_errcode(40125, "invalid appsecret")),
        ),
        Call(
            action="test",
            method="GET",
            path="/cgi-bin/getcallbackip",
            query=_AccessToken,
            answer=Reply(body={"ip_list": ["127.0.0.1"]}),
        ),
        Call(
            action="send_text",
            path="/cgi-bin/message/custom/send",
            query=_AccessToken,
            json=_WeChatMessage,
            spoken="text",
            answer=Reply(body=_errcode(0, "ok")),
            invalid=Reply(body=_errcode(47001, "data format error")),
            troubles={
                "busy in a 200": retry(_errcode(-1, "system error")),
                "48 hours have passed in a 200": stop(_errcode(45015, "response out of time limit or subscription")),
                "invalid openid in a 200": stop(_errcode(40003, "invalid openid")),
            },
        ),
    ),
)

TEAM_CHATS = (SLACK, SLACK_WEBHOOK, DISCORD, WECOM, DINGTALK, FEISHU, WECHAT)

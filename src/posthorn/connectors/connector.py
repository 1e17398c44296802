"""What a connector is: the frozen shape of one declarative file. Field names are the keys of the file."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

MOST_TEMPLATE_CHARACTERS = 65_536

Line = Annotated[str, Meta(min_length=1, max_length=500)]
Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
Path = Annotated[str, Meta(pattern=r"\A(@text|[A-Za-z0-9_$-]{1,64}(\.[A-Za-z0-9_$-]{1,64}){0,15})\Z")]
HeaderName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9-]{1,64}\Z")]
TemplateText = Annotated[str, Meta(min_length=1, max_length=MOST_TEMPLATE_CHARACTERS)]


class Declared(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything that a file declares: an unknown key is refused and never dropped in silence."""


class Text(Declared, frozen=True, kw_only=True):
    """A text for people in the three languages of the console."""

    en: Line
    ru: Line
    zh: Line


class Category(StrEnum):
    """What people look for a connector under."""

    MESSENGER = "messenger"
    TEAM_CHAT = "team_chat"
    SMS = "sms"
    MAIL = "mail"
    CRM = "crm"
    MARKETING = "marketing"
    ANALYTICS = "analytics"


class Form(StrEnum):
    """How a credential must be written. Only `label`, `host` and choices may stand in the host of a URL."""

    TEXT = "text"  #: anything in one line
    TOKEN = "token"  #: one segment of a path: letters, digits, and `-._~:`  # noqa: S105 - a form, not a credential
    PATH = "path"  #: several such segments with slashes between them
    DIGITS = "digits"
    LABEL = "label"  #: one label of a host name (RFC 1123 section 2.1)
    HOST = "host"  #: a whole host name, without scheme, port and path


class Choice(Declared, frozen=True, kw_only=True):
    """One value to choose."""

    value: Line
    label: Text


class Credential(Declared, frozen=True, kw_only=True):
    """What an account consists of: a secret, or with `secret = false` an address such as a portal or a region."""

    label: Text
    help: Text
    sample: Line
    secret: bool = True
    required: bool = True
    default: str | None = None
    form: Form = Form.TEXT
    choices: tuple[Choice, ...] = ()


class InputType(StrEnum):
    """What an input's value is."""

    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"
    JSON = "json"
    LIST = "list"


class Input(Declared, frozen=True, kw_only=True):
    """A value that the step of an automation fills in. Absent ones are nil in templates."""

    label: Text
    type: InputType = InputType.TEXT
    help: Text | None = None
    required: bool = True
    default: Any = None
    sample: Any = None
    choices: tuple[Choice, ...] = ()
    max_characters: Annotated[int, Meta(ge=1, le=65_536)] = 4_096
    max_bytes: Annotated[int, Meta(ge=1, le=262_144)] | None = None  #: as UTF-8, where the vendor counts so
    max_items: Annotated[int, Meta(ge=1, le=1_000)] = 100
    whole: bool = False  #: a number without a fraction
    minimum: float | None = None
    maximum: float | None = None


class RequestTemplate(Declared, frozen=True, kw_only=True):
    """A request as Liquid text over `input`, `credential`, `delivery` and `now`."""

    url: TemplateText
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: dict[HeaderName, TemplateText] = {}
    body: TemplateText | None = None


Operator = Literal["eq", "ne", "in", "not_in", "exists", "empty", "contains", "gt", "gte", "lt", "lte"]


class Predicate(Declared, frozen=True, kw_only=True):
    """A question to the answer's JSON body: `path` is `error.code` or `messages.0.id`; `@text` is all of it as text."""

    path: Path
    operator: Operator = "eq"
    value: Any = None


class AnswerRule(Declared, frozen=True, kw_only=True):
    """Matches an answer by status and by all of its predicates. `because` explains it to people."""

    statuses: tuple[int | Literal["2xx", "3xx", "4xx", "5xx"], ...] | None = None
    when: tuple[Predicate, ...] = ()
    because: Text | None = None


class RetryAfter(Declared, frozen=True, kw_only=True):
    """Where an answer says how long to wait: in the JSON body at `path` or in a header."""

    path: Path | None = None
    header: HeaderName | None = None
    unit: Literal["seconds", "milliseconds"] = "seconds"


class Answer(Declared, frozen=True, kw_only=True):
    """What an answer means; see `posthorn.connectors.judging` for the order in which the rules are asked.

    `unlisted` is for a 2xx answer that is JSON but neither success nor matched by another rule. `code` and `message`
    are the paths where the vendor says what is wrong.
    """

    success: tuple[AnswerRule, ...] = (AnswerRule(),)
    retry: tuple[AnswerRule, ...] = ()
    stop: tuple[AnswerRule, ...] = ()
    unlisted: Literal["stop", "retry"] = "stop"
    retry_after: tuple[RetryAfter, ...] = ()
    code: tuple[Path, ...] = ()
    message: tuple[Path, ...] = ()


class Idempotency(Declared, frozen=True, kw_only=True):
    """Where the vendor recognises a repeated request; the template prints `delivery.key` there.

    `derive` makes the key of the delivery's id: the id itself, a UUID (RFC 9562 version 5), or a number of 31 bits.
    """

    derive: Literal["as_is", "uuid5", "int31"] = "as_is"
    header: HeaderName | None = None
    field: Path | None = None


class Rate(Declared, frozen=True, kw_only=True):
    """At most `count` requests in `per_seconds`, counted for the credential or also by an input: `input.chat_id`."""

    count: Annotated[int, Meta(ge=1)]
    per_seconds: Annotated[float, Meta(gt=0)] = 1.0
    key: Annotated[str, Meta(pattern=r"\A(credential|input\.[a-z][a-z0-9_]*)\Z")] = "credential"


class AtSend(Declared, frozen=True, kw_only=True):
    """A value that each attempt computes anew.

    `key` and `message` are texts in which `{name}` stands for a credential, an earlier value of this list, or
    `{token}` where the connector exchanges one. `text` just fills in `message`. The value goes into a header, a query
    parameter or a top-level field of the JSON body, or nowhere when only later values use it. With `when` it is
    computed only if that optional credential is given.
    """

    name: Name
    compute: Literal["unix_seconds", "unix_ms", "iso", "text", "hmac_sha1", "hmac_sha256", "hmac_sha512"]
    key: str = ""
    message: str = ""
    encoding: Literal["base64", "hex"] = "base64"
    header: HeaderName | None = None
    query: Name | None = None
    field: Name | None = None
    when: Name | None = None


class Action(Declared, frozen=True, kw_only=True):
    """One thing that a connector does: its inputs, its request, and what the answers mean."""

    title: Text
    request: RequestTemplate
    description: Text | None = None
    inputs: dict[str, Input] = {}
    answer: Answer = Answer()
    idempotency: Idempotency | None = None
    rates: tuple[Rate, ...] = ()
    at_send: tuple[AtSend, ...] = ()


class TokenExchange(Declared, frozen=True, kw_only=True):
    """How long-lived credentials become a short-lived token: `value` and `expires_in` are paths in the answer.

    `refused` are answers of an action that mean that the token has ended before its time.
    """

    request: RequestTemplate
    value: Path
    expires_in: Path | None = None  #: seconds
    lifetime_seconds: Annotated[int, Meta(ge=60)] = 3_600  #: where the answer says nothing
    answer: Answer = Answer()
    refused: tuple[AnswerRule, ...] = ()


class TestCall(Declared, frozen=True, kw_only=True):
    """How to try an account: a harmless request, or an action that people fill in because somebody will see it."""

    __test__ = False  # its name must not make pytest collect it

    action: Name | None = None
    request: RequestTemplate | None = None
    answer: Answer = Answer()
    at_send: tuple[AtSend, ...] = ()


class Connector(Declared, frozen=True, kw_only=True):
    """One target: its account, its actions, and how to try it."""

    name: Name
    title: Text
    description: Text
    category: Category
    docs: Annotated[str, Meta(pattern=r"\Ahttps://\S+\Z")]
    test: TestCall
    legacy: bool = False
    credentials: dict[str, Credential] = {}
    actions: dict[str, Action] = {}
    token: TokenExchange | None = None

    def secrets(self) -> frozenset[str]:
        """Return the names of the credentials that nobody may read."""
        return frozenset(name for name, credential in self.credentials.items() if credential.secret)

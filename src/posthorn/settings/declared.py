"""Every setting, declared once: flags, environment variables and docs/settings.md all come from this list."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from posthorn.errors import SettingsInvalid
from posthorn.settings.parsing import (
    ROLES,
    Network,
    parse_api_key,
    parse_base_url,
    parse_choice,
    parse_database,
    parse_host,
    parse_master_key,
    parse_networks,
    parse_path,
    parse_port,
    parse_roles,
    parse_seconds,
    parse_whole,
)

_LONGEST_RETENTION_DAYS = 36_500
_LONGEST_DRAIN_SECONDS = 3_600.0
_MOST_WORKERS = 64
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, never bound


class LogLevel(StrEnum):
    """The least severe line that is still written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    CONSOLE = "console"  #: for people
    JSON = "json"  #: one object a line, for collectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as data: what it means, how it is written, how its text becomes a value."""

    name: str
    default: Any
    meaning: str
    parse: Callable[[str], Any]
    placeholder: str  #: what stands for the value in usage lines
    special: str = ""  #: what special values stand for
    unit: str = ""
    flag: str = ""  #: on the command line; made of the name when empty
    repeatable: bool = False  #: the flag may be given several times; the values are joined by commas
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"POSTHORN_{self.name.upper()}"

    @property
    def shown_default(self) -> str:
        """Its default as one would write it, empty when there is none."""
        if self.default is None or self.default == ():
            return ""
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def option(self) -> str:
        """Its flag on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"


def _about(*, meaning: str, parse: Callable[[str], Any], **more: Any) -> dict[str, Any]:
    """Make the metadata that documents and parses one field of Settings."""
    return {"meaning": meaning, "parse": parse, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may choose. Values that contradict each other raise SettingsInvalid.

    The repr shows no secret.
    """

    data: Path = field(
        default=Path("posthorn-data"),
        metadata=_about(
            meaning="Directory of the database and the generated keys. Made when absent.",
            parse=parse_path,
            placeholder="DIRECTORY",
        ),
    )
    database: str | None = field(
        default=None,
        repr=False,
        metadata=_about(
            meaning="PostgreSQL database that nodes share, such as postgresql://user:password@host:5432/posthorn; "
            "several hosts are separated by commas, and the one that takes writes is used.",
            special="When absent, the embedded store in the data directory is used. "
            "Prefer the variable when there is a password in it: other users of the machine can read flags.",
            parse=parse_database,
            placeholder="URL",
            secret=True,
        ),
    )
    workers: int = field(
        default=1,
        metadata=_about(
            meaning="How many processes serve on this machine. They share the ports and the store.",
            parse=parse_whole(1, _MOST_WORKERS),
            placeholder="NUMBER",
        ),
    )
    roles: tuple[str, ...] = field(
        default=ROLES,
        metadata=_about(
            meaning="What this node does: receive, decide, deliver, or some of them separated by commas. "
            "Every role must be on some node.",
            parse=parse_roles,
            placeholder="ROLES",
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=_about(
            meaning="Address that both doors listen on.",
            special="`0.0.0.0` listens on every interface; guard the private door with TLS and a firewall.",
            parse=parse_host,
            placeholder="HOST",
        ),
    )
    port: int = field(
        default=8600,
        metadata=_about(
            meaning="Port of the private door: API, intake, metrics.",
            special="`0` takes any free port.",
            parse=parse_port,
            placeholder="PORT",
        ),
    )
    inbox_port: int = field(
        default=8601,
        metadata=_about(
            meaning="Port of the public door, which answers inbox addresses and nothing else.",
            special="`0` takes any free port.",
            parse=parse_port,
            placeholder="PORT",
        ),
    )
    allow_targets: tuple[Network, ...] = field(
        default=(),
        metadata=_about(
            meaning="Networks that deliveries may reach although they are private, in CIDR notation.",
            special="None by default: loopback, private and link-local targets are refused.",
            parse=parse_networks,
            placeholder="CIDR",
            flag="--allow-target",
            repeatable=True,
        ),
    )
    api_key: str | None = field(
        default=None,
        repr=False,
        metadata=_about(
            meaning="An API key that is valid in the default workspace, at least 16 characters.",
            special="When absent, the first start makes a key and prints it once. "
            "Prefer the variable: other users of the machine can read flags.",
            parse=parse_api_key,
            placeholder="KEY",
            secret=True,
        ),
    )
    master_key: str | None = field(
        default=None,
        repr=False,
        metadata=_about(
            meaning="The key that seals stored secrets: base64 of 32 bytes. Several are separated by commas; "
            "the first seals, all open.",
            special="When absent, the first start makes one in the data directory; keep a copy. "
            "Prefer the variable: other users of the machine can read flags.",
            parse=parse_master_key,
            placeholder="KEY",
            secret=True,
        ),
    )
    public_inbox_url: str | None = field(
        default=None,
        metadata=_about(
            meaning="The public door as the world reaches it, such as https://hooks.example.org; "
            "inbox addresses are printed under it.",
            special="When absent, it is http:// with the host and the inbox port.",
            parse=parse_base_url,
            placeholder="URL",
        ),
    )
    extra_ca_file: Path | None = field(
        default=None,
        metadata=_about(
            meaning="PEM file of certificate authorities that deliveries trust besides the system's.",
            parse=parse_path,
            placeholder="FILE",
        ),
    )
    connectors: Path | None = field(
        default=None,
        metadata=_about(
            meaning="Directory with connector files (*.toml) of your own, read at the start. Every node needs them.",
            parse=parse_path,
            placeholder="DIRECTORY",
        ),
    )
    log_level: LogLevel = field(
        default=LogLevel.INFO,
        metadata=_about(
            meaning="The least severe log line that is written: debug, info, warning or error.",
            special="`debug` writes lines for every event, which costs throughput.",
            parse=parse_choice(LogLevel),
            placeholder="LEVEL",
        ),
    )
    log_format: LogFormat = field(
        default=LogFormat.CONSOLE,
        metadata=_about(
            meaning="How log lines look on standard error: console (for people) or json (one object a line).",
            parse=parse_choice(LogFormat),
            placeholder="FORMAT",
        ),
    )
    retention_days: int = field(
        default=30,
        metadata=_about(
            meaning="How long the journal keeps what is finished. Pending deliveries are never pruned.",
            unit="days",
            parse=parse_whole(1, _LONGEST_RETENTION_DAYS),
            placeholder="DAYS",
        ),
    )
    drain_seconds: float = field(
        default=20.0,
        metadata=_about(
            meaning="How long a shutdown may take to finish work in flight. The next start repeats the rest.",
            unit="seconds",
            special="`0` stops at once.",
            parse=parse_seconds(0, _LONGEST_DRAIN_SECONDS),
            placeholder="SECONDS",
        ),
    )

    def __post_init__(self) -> None:
        """Check what one value alone cannot show. Values built in code pass the same checks as texts."""
        problems = list(_ranges_broken(self))
        if self.port == self.inbox_port != 0:
            problems.append(f"port and inbox_port are both {self.port}; the public door is another origin: choose two")
        if problems:
            raise SettingsInvalid("\n".join(problems))

    def inbox_url(self, bound_port: int) -> str:
        """Return the public door's base address, given the port that it got."""
        return self.public_inbox_url or url_of(self.host, bound_port)


def url_of(host: str, port: int) -> str:
    """Return the address at which this machine reaches a door; "every interface" becomes loopback."""
    host = _EVERY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _ranges_broken(settings: Settings) -> list[str]:
    bounds = (
        ("port", settings.port, 0, 65_535),
        ("inbox_port", settings.inbox_port, 0, 65_535),
        ("workers", settings.workers, 1, _MOST_WORKERS),
        ("retention_days", settings.retention_days, 1, _LONGEST_RETENTION_DAYS),
        ("drain_seconds", settings.drain_seconds, 0, _LONGEST_DRAIN_SECONDS),
    )
    return [
        f"{name} is {value}, expected {least:g} to {most:g}"
        for name, value, least, most in bounds
        if not least <= value <= most
    ]


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(name=each.name, default=each.default, **each.metadata) for each in fields(Settings)
)

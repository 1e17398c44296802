"""Where a lane's deliveries go and under which rules, compiled once per change of configuration."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from posthorn.clock import SECOND_MS
from posthorn.deliver.transport import NO_HEADERS, HeaderBlock, Refusal, header_block
from posthorn.engine.directory import Directory
from posthorn.engine.following import CatchUp, nothing_new
from posthorn.engine.lanes import owner_of
from posthorn.engine.marks import MASK
from posthorn.engine.resources import Application, Automation, Endpoint, Resource, SealedSecret
from posthorn.errors import PosthornError
from posthorn.signing import Key, parse_secret
from posthorn.vault import KeyRing

DEFAULT_DEADLINE_SECONDS = 15.0

SENSITIVE_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "x-auth-token",
        "api-key",
        "www-authenticate",
        "proxy-authenticate",
    }
)
_MOST_KEPT = 50_000


class LaneRules(Struct, frozen=True, kw_only=True):
    """Everything about a lane that does not change from delivery to delivery."""

    resource: Resource
    parent: Resource | None  #: the application of an endpoint, which may throttle it
    workspace: str
    application: str | None
    url: str | None  #: None: each delivery carries its own rendered request
    paused: bool
    keys: tuple[Key, ...]
    keys_until_ms: int | None  #: when the oldest rotated key expires and the rules must be compiled again
    fixed_headers: HeaderBlock
    shown_headers: tuple[tuple[str, str], ...]  #: the fixed headers as the journal shows them
    schedule_ms: Sequence[int] | None  #: None: the event type's, or the default
    deadline_seconds: float
    rate: int | None

    def has_expired(self, now_ms: int) -> bool:
        """Whether a rotated key among these rules has run out."""
        return self.keys_until_ms is not None and now_ms >= self.keys_until_ms


class LaneRulesSource(Protocol):
    """Tells the rules of a lane."""

    def rules(self, lane: str, now_ms: int) -> LaneRules | None:
        """Return the rules, or None when what the lane belongs to is not known here."""
        ...

    async def is_gone(self, lane: str, now_ms: int) -> bool:
        """Tell whether what the lane belongs to is deleted, on this node and on all others."""
        ...


class CompiledLanes:
    """Compiles lane rules from the directory and keeps them until their resource changes."""

    def __init__(self, directory: Directory, key_ring: KeyRing, catch_up: CatchUp = nothing_new) -> None:
        """Make one; `catch_up` brings the directory up to date before an unknown lane counts as deleted."""
        self._directory = directory
        self._key_ring = key_ring
        self._catch_up = catch_up
        self._compiled: dict[str, LaneRules] = {}

    async def is_gone(self, lane: str, now_ms: int) -> bool:
        """Look once more after catching up with what other nodes configured. Raises StoreUnavailable."""
        await self._catch_up()
        return self.rules(lane, now_ms) is None

    def rules(self, lane: str, now_ms: int) -> LaneRules | None:
        """Return the rules of an endpoint's or an automation's lane."""
        owner = owner_of(lane)
        resource: Endpoint | Automation | None = self._directory.endpoint(owner) or self._directory.automation(owner)
        known = self._compiled.get(owner)
        if resource is None:
            self._compiled.pop(owner, None)
            return None
        parent = self._parent_of(resource)
        is_known = known is not None and known.resource is resource and known.parent is parent
        if known is not None and is_known and not known.has_expired(now_ms):
            return known
        compile_rules = self._of_endpoint if isinstance(resource, Endpoint) else self._of_automation
        rules = compile_rules(resource, now_ms)  # type: ignore[arg-type]  # the branch above chose by type
        if len(self._compiled) >= _MOST_KEPT:
            self._compiled.clear()  # opened keys of endpoints that are gone would stay for ever
        self._compiled[owner] = rules
        return rules

    def _parent_of(self, resource: Endpoint | Automation) -> Application | None:
        if isinstance(resource, Automation):
            return None
        return self._directory.application(resource.workspace, resource.parent)

    def _of_endpoint(self, endpoint: Endpoint, now_ms: int) -> LaneRules:
        headers = self._headers(endpoint)
        block = header_block([(name.encode(), value.encode()) for name, value in headers.items()])
        if isinstance(block, Refusal):
            raise PosthornError(f"stored headers of {endpoint.id} cannot be sent: {block.detail}")
        application = self._parent_of(endpoint)
        schedule = endpoint.retry_schedule_seconds
        return LaneRules(
            resource=endpoint,
            parent=application,
            workspace=endpoint.workspace,
            application=endpoint.parent,
            url=endpoint.url,
            paused=endpoint.disabled,
            keys=self._keys(endpoint.id, endpoint.secrets, now_ms),
            keys_until_ms=_first_expiry(endpoint.secrets, now_ms),
            fixed_headers=block,
            # Values of an endpoint's own headers are sealed at rest, so the journal never shows any of them.
            shown_headers=tuple((name, MASK) for name in headers),
            schedule_ms=schedule_in_ms(schedule) if schedule is not None else None,
            deadline_seconds=endpoint.deadline_seconds or DEFAULT_DEADLINE_SECONDS,
            rate=endpoint.throttle_rate or (application.throttle_rate if application is not None else None),
        )

    def _of_automation(self, automation: Automation, now_ms: int) -> LaneRules:
        schedule = automation.retry_schedule_seconds
        return LaneRules(
            resource=automation,
            parent=None,
            workspace=automation.workspace,
            application=None,
            url=None,
            paused=False,
            keys=self._keys(automation.id, automation.secrets, now_ms),
            keys_until_ms=_first_expiry(automation.secrets, now_ms),
            fixed_headers=NO_HEADERS,
            shown_headers=(),
            schedule_ms=schedule_in_ms(schedule) if schedule is not None else None,
            deadline_seconds=DEFAULT_DEADLINE_SECONDS,
            rate=automation.throttle_rate,
        )

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        if endpoint.headers_sealed is None:
            return {}
        opened = self._key_ring.open(endpoint.headers_sealed, context=endpoint.id)
        return msgspec.json.decode(opened, type=dict[str, str])

    def _keys(self, owner: str, secrets: Sequence[SealedSecret], now_ms: int) -> tuple[Key, ...]:
        return tuple(
            parse_secret(self._key_ring.open(secret.sealed, context=owner).decode())
            for secret in secrets
            if secret.expires_ms is None or secret.expires_ms > now_ms
        )


def _first_expiry(secrets: Sequence[SealedSecret], now_ms: int) -> int | None:
    return min((s.expires_ms for s in secrets if s.expires_ms is not None and s.expires_ms > now_ms), default=None)


def schedule_in_ms(seconds: Sequence[int]) -> tuple[int, ...]:
    """Turn a configured schedule (delays before each retry, in seconds) into steps, the first attempt being at once."""
    return (0, *(delay * SECOND_MS for delay in seconds))

"""Sources: inbound addresses of ours, with their verification, dedupe rule and answer; and brokers to consume."""

import hashlib
import secrets as random
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.brokers import BrokerCredentials, BrokerSettings
from posthorn.engine.directory import Directory
from posthorn.engine.resources import (
    Answer,
    CloudEventsMapping,
    DedupeRule,
    FieldsMapping,
    SealedSecret,
    Source,
    TrackingMapping,
)
from posthorn.errors import Conflict, Invalid
from posthorn.manage.broker_rules import BrokerRules, check_only_broker
from posthorn.manage.header_rules import check_headers
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.rotation import DEFAULT_GRACE_SECONDS, LONGEST_GRACE_SECONDS, rotated, valid
from posthorn.manage.shapes import (
    Fields,
    Name,
    Uid,
    check_uid,
    cleared,
    given,
    required,
    settable_defaults,
    settled_uid,
)
from posthorn.manage.template_rules import check_template
from posthorn.receive.bridges.bridge import BridgeState
from posthorn.receive.mapping import check_mapping
from posthorn.signing import NoVerification, Verification, check_secret, needs_secret
from posthorn.vault import KeyRing

_TOKEN_BYTES = 20  # 160 random bits: nobody guesses an address
_ANSWER_BODY_MOST_CHARACTERS = 65_536
_CLOSED = AddressPolicy()

SecretText = Annotated[str, Meta(min_length=1, max_length=8192)]


class SourceFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of a source. `secrets` replaces all of them; it may be left out to keep them.

    `brokerCredentials` too is kept when it is left out, as long as the broker's servers stay the same.
    """

    name: Name | UnsetType = UNSET
    uid: Uid | UnsetType | None = UNSET
    broker: BrokerSettings | UnsetType | None = UNSET
    broker_credentials: BrokerCredentials | UnsetType | None = UNSET
    verification: Verification | UnsetType = UNSET
    secrets: Annotated[tuple[SecretText, ...], Meta(max_length=10)] | UnsetType | None = UNSET
    dedupe: DedupeRule | UnsetType | None = UNSET
    answer: Answer | UnsetType | None = UNSET
    event_type: Annotated[str, Meta(min_length=1, max_length=4096)] | UnsetType | None = UNSET
    body_limit_bytes: Annotated[int, Meta(ge=1, le=25 * 1024 * 1024)] | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET
    mapping: FieldsMapping | CloudEventsMapping | TrackingMapping | UnsetType | None = UNSET


class NewSourceSecret(Fields, frozen=True, kw_only=True):
    """A sender's new secret, and how long the old ones stay valid."""

    secret: SecretText
    grace_period_seconds: Annotated[int, Meta(ge=0, le=LONGEST_GRACE_SECONDS)] | None = None


class SourceRecord(Struct, frozen=True, kw_only=True):
    """A source with its address, and those of its secrets that are valid now."""

    source: Source
    url: str | None  #: where its senders send to; None when it consumes a broker
    write_key: str | None = None  #: what tracking calls are made with
    secrets: tuple[SealedSecret, ...]
    bridge: BridgeState | None = None  #: how its bridge is doing on this node; None when none runs here


class Sources:
    """Creates, changes and deletes sources. `inbox_url` is the public door's base URL, without a slash at its end.

    `policy` judges the addresses of brokers; without one no private address is accepted. `bridge_state` tells how a
    source's bridge is doing on this node.
    """

    def __init__(
        self,
        registry: SharedRegistry,
        directory: Directory,
        clock: Clock,
        keyring: KeyRing,
        inbox_url: str,
        policy: AddressPolicy = _CLOSED,
        *,
        bridge_state: Callable[[str], BridgeState | None] | None = None,
    ) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._keyring = keyring
        self._inbox_url = inbox_url.rstrip("/")
        self._brokers = BrokerRules(keyring, policy)
        self._bridge_state = bridge_state

    async def get(self, workspace: str, identifier: str) -> SourceRecord:
        """Find a source by id or uid; raises NotFound."""
        return self._record(await self._registrar.find(Source, workspace, identifier))

    async def list(self, workspace: str, page: PageOf) -> tuple[list[SourceRecord], bool]:
        """Return a page of sources, and whether nothing follows in its direction."""
        rows, done = await self._registrar.page(Source, workspace, page)
        return [self._record(row) for row in rows], done

    async def identify(self, workspace: str, identifier: str | None) -> str | None:
        """Return the id behind an id or uid, to filter by; see `Registrar.identify`."""
        return await self._registrar.identify(Source, workspace, identifier)

    async def create(self, workspace: str, fields: SourceFields) -> SourceRecord:
        """Make a source with a new address; raises Invalid, Conflict when its uid is taken."""
        values = cleared(Source, given(fields))
        required(values, "name")
        now_ms = self._registrar.now_ms()
        identifier = ids.new_id(ids.SOURCE, now_ms)
        texts = values.pop("secrets", ())
        credentials = values.pop("broker_credentials", UNSET)
        if (broker := values.get("broker")) is not None:
            values |= self._brokers.settled(identifier, broker, credentials)
        elif credentials:
            raise Invalid.at("broker", msg="credentials need a broker", type="missing")
        token = random.token_urlsafe(_TOKEN_BYTES)
        source = Source(
            id=identifier,
            workspace=workspace,
            created_ms=now_ms,
            updated_ms=now_ms,
            token_sealed=self._keyring.seal(token.encode(), context=identifier),
            # No token has this digest: nothing comes in at the address of a source that consumes a broker.
            token_digest=token_digest(token) if broker is None else f"broker:{identifier}",
            secrets=self._sealed_all(identifier, texts, now_ms),
            **values,
        )
        check_uid(source.uid, ids.SOURCE)
        self._check(source)
        return self._record(await self._registrar.add(source))

    async def replace(self, workspace: str, identifier: str, fields: SourceFields) -> tuple[SourceRecord, bool]:
        """Create or overwrite a source; True says that it is new.

        What is not given takes its default. Address, uid and secrets are kept when they are not given.
        """
        async with self._registrar.editing:
            existing = await self._registrar.seek(Source, workspace, identifier)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.SOURCE)
                return await self.create(workspace, structs.replace(fields, uid=uid)), True
            required(given(fields), "name")
            kept = {"secrets", "broker_sealed"}
            defaults = {name: value for name, value in settable_defaults(Source).items() if name not in kept}
            return await self._change(existing, defaults | cleared(Source, given(fields))), False

    async def change(self, workspace: str, identifier: str, fields: SourceFields) -> SourceRecord:
        """Change what is given; raises NotFound, Invalid, Conflict."""
        async with self._registrar.editing:
            existing = await self._registrar.find(Source, workspace, identifier)
            return await self._change(existing, cleared(Source, given(fields)))

    async def _change(self, existing: Source, values: dict[str, Any]) -> SourceRecord:
        if "secrets" in values:
            sealed = self._sealed_all(existing.id, values["secrets"], self._registrar.now_ms())
            values = values | {"secrets": sealed}
        values = self._with_broker(existing, values)
        changed: Source = structs.replace(existing, **values)
        if changed.uid != existing.uid:
            check_uid(changed.uid, ids.SOURCE)
        if isinstance(changed.mapping, TrackingMapping) != isinstance(existing.mapping, TrackingMapping):
            # The token is a secret of senders in one case, and stands in web pages in the other.
            raise Invalid.at("mapping", msg="a source is an address or a write key for good; create another one")
        self._check(changed)
        return self._record(await self._registrar.put(changed))

    def _with_broker(self, existing: Source, values: dict[str, Any]) -> dict[str, Any]:
        credentials = values.pop("broker_credentials", UNSET)
        broker = values.get("broker", existing.broker)
        if (broker is None) != (existing.broker is None):
            msg = "a source is an address or a broker's for good; create another one"
            raise Invalid.at("broker", msg=msg, type="missing" if broker is None else "value_error")
        if broker is None:
            if credentials:
                raise Invalid.at("brokerCredentials", msg="this source has an address, and no broker")
            return values
        if broker == existing.broker and credentials is UNSET:
            return values
        return values | self._brokers.settled(existing.id, broker, credentials, existing)

    async def rotate_secret(self, workspace: str, identifier: str, new: NewSourceSecret) -> SourceRecord:
        """Accept a new secret from now on, and the old ones until the grace period ends.

        Raises NotFound, Invalid, Conflict for a broker's source.
        """
        async with self._registrar.editing:
            source = await self._registrar.find(Source, workspace, identifier)
            if source.broker is not None:
                raise Conflict("this source consumes a broker: change its brokerCredentials")
            _check_secret(source.verification, new.secret, "secret")
            now_ms = self._registrar.now_ms()
            grace = new.grace_period_seconds
            secrets = rotated(
                source.secrets,
                self._sealed(source.id, new.secret, now_ms),
                grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
                now_ms=now_ms,
            )
            return self._record(await self._registrar.put(structs.replace(source, secrets=secrets)))

    async def rotate_address(self, workspace: str, identifier: str) -> SourceRecord:
        """Give a source a new address; the old one ends at once. Raises NotFound, Conflict for a broker's."""
        async with self._registrar.editing:
            source = await self._registrar.find(Source, workspace, identifier)
            if source.broker is not None:
                raise Conflict("this source consumes a broker and has no address")
            token = random.token_urlsafe(_TOKEN_BYTES)
            changed = structs.replace(
                source,
                token_sealed=self._keyring.seal(token.encode(), context=source.id),
                token_digest=token_digest(token),
            )
            return self._record(await self._registrar.put(changed))

    async def delete(self, workspace: str, identifier: str) -> None:
        """Delete a source; raises NotFound. Its address answers as if it had never been."""
        async with self._registrar.editing:
            await self._registrar.remove(await self._registrar.find(Source, workspace, identifier))

    def _record(self, source: Source) -> SourceRecord:
        if source.broker is not None:
            bridge = self._bridge_state(source.id) if self._bridge_state is not None else None
            return SourceRecord(source=source, url=None, secrets=(), bridge=bridge)
        token = self._keyring.open(source.token_sealed, context=source.id).decode()
        if isinstance(source.mapping, TrackingMapping):
            return SourceRecord(source=source, url=self._inbox_url, write_key=token, secrets=())
        return SourceRecord(
            source=source,
            url=f"{self._inbox_url}/in/{token}",
            secrets=valid(source.secrets, self._registrar.now_ms()),
        )

    def _sealed(self, identifier: str, secret: str, now_ms: int) -> SealedSecret:
        return SealedSecret(sealed=self._keyring.seal(secret.encode(), context=identifier), created_ms=now_ms)

    def _sealed_all(self, identifier: str, texts: tuple[str, ...], now_ms: int) -> tuple[SealedSecret, ...]:
        return tuple(self._sealed(identifier, text, now_ms) for text in texts)

    def _check(self, source: Source) -> None:
        check_only_broker(source)
        live = valid(source.secrets, self._registrar.now_ms())
        if needs_secret(source.verification) and not live:
            raise Invalid.at("secrets", msg="this verification needs a secret: give the sender's", type="missing")
        for place, secret in enumerate(live):
            text = self._keyring.open(secret.sealed, context=source.id).decode()
            _check_secret(source.verification, text, "secrets", place)
        check_template(source.event_type, "eventType", escape="none")
        _check_dedupe(source.dedupe)
        _check_mapping(source)
        _check_answer(source.answer)


def token_digest(token: str) -> str:
    """Return the digest that a source is found by when a request comes to its address."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_secret(verification: Verification, secret: str, *at: str | int) -> None:
    try:
        check_secret(verification, secret)
    except Invalid as error:
        raise Invalid.at(*at, msg=error.problems[0].msg, type=error.problems[0].type) from None


def _check_dedupe(rule: DedupeRule | None) -> None:
    if rule is not None and (rule.header is None) == (rule.field is None):
        raise Invalid.at("dedupe", msg="give either header or field")


def _check_mapping(source: Source) -> None:
    check_mapping(source.mapping)
    match source.mapping:
        case TrackingMapping():
            _check_only_tracking(source)
        case CloudEventsMapping() if source.broker is not None:
            raise Invalid.at("mapping", "type", msg="CloudEvents are read from requests; map a broker's fields")
        case CloudEventsMapping() if source.dedupe is not None:
            raise Invalid.at("dedupe", msg="CloudEvents have a source and an id, which make two the same one")
        case _:
            return


def _check_only_tracking(source: Source) -> None:
    unfit: dict[str, bool] = {
        "broker": source.broker is not None,
        "verification": not isinstance(source.verification, NoVerification),
        "secrets": bool(source.secrets),
        "dedupe": source.dedupe is not None,
        "answer": source.answer != Answer(),
    }
    for name, is_given in unfit.items():
        if is_given:
            raise Invalid.at(name, msg="tracking calls have a write key, a messageId and an answer of their own")


def _check_answer(answer: Answer) -> None:
    check_headers(answer.headers, "answer", "headers", signed=False)
    if answer.body is not None and len(answer.body) > _ANSWER_BODY_MOST_CHARACTERS:
        raise Invalid.at("answer", "body", msg=f"an answer has at most {_ANSWER_BODY_MOST_CHARACTERS} characters")
    if answer.body and answer.status in {204, 304}:
        raise Invalid.at("answer", "body", msg=f"an answer of status {answer.status} has no body")

"""Endpoints: the URLs that receive, with their secrets and headers."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.deliver.transport.failures import Refusal
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Application, Endpoint
from posthorn.errors import Invalid
from posthorn.manage.header_rules import SENSITIVE, check_headers
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.shapes import (
    Channels,
    DeadlineSeconds,
    Description,
    EventTypeNames,
    Fields,
    Metadata,
    RetrySchedule,
    ThrottleRate,
    Uid,
    check_metadata,
    check_uid,
    cleared,
    given,
    required,
    settable_defaults,
    settled_uid,
)
from posthorn.manage.signing_secrets import NewSecret, SigningSecrets
from posthorn.vault import KeyRing


class EndpointFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of an endpoint at any time."""

    url: Annotated[str, Meta(min_length=1, max_length=4096)] | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    uid: Uid | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    event_types: EventTypeNames | UnsetType | None = UNSET
    channels: Channels | UnsetType | None = UNSET
    disabled: bool | UnsetType | None = UNSET
    throttle_rate: ThrottleRate | UnsetType | None = UNSET
    retry_schedule_seconds: RetrySchedule | UnsetType | None = UNSET
    deadline_seconds: DeadlineSeconds | UnsetType | None = UNSET


class ShownHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Added headers as they may be shown: of sensitive ones only the name."""

    headers: dict[str, str]
    sensitive: tuple[str, ...]


class Endpoints:
    """Creates, changes and deletes an application's endpoints."""

    def __init__(
        self, registry: SharedRegistry, directory: Directory, clock: Clock, keyring: KeyRing, policy: AddressPolicy
    ) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._keyring = keyring
        self._secrets = SigningSecrets(keyring)
        self._policy = policy

    async def get(self, application: Application, identifier: str) -> Endpoint:
        """Find an endpoint by id or uid; raises NotFound."""
        return await self._registrar.find(Endpoint, application.workspace, identifier, parent=application.id)

    async def seek(self, application: Application, identifier: str) -> Endpoint | None:
        """Find an endpoint by id or uid, or None."""
        return await self._registrar.seek(Endpoint, application.workspace, identifier, parent=application.id)

    async def list(self, application: Application, page: PageOf) -> tuple[list[Endpoint], bool]:
        """Return a page of an application's endpoints, and whether nothing follows in its direction."""
        return await self._registrar.page(Endpoint, application.workspace, page, parent=application.id)

    async def create(
        self,
        application: Application,
        fields: EndpointFields,
        *,
        secret: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Endpoint:
        """Make an endpoint. Without a secret one is made. Raises Invalid, Conflict when its uid is taken."""
        values = cleared(Endpoint, given(fields))
        required(values, "url")
        self._check(values, uid=values.get("uid"))
        now_ms = self._registrar.now_ms()
        identifier = ids.new_id(ids.ENDPOINT, now_ms)
        return await self._registrar.add(
            Endpoint(
                id=identifier,
                workspace=application.workspace,
                parent=application.id,
                created_ms=now_ms,
                updated_ms=now_ms,
                secrets=(self._secrets.sealed(identifier, secret, "secret", now_ms),),
                headers_sealed=self._sealed_headers(identifier, headers) if headers else None,
                **values,
            )
        )

    async def replace(self, application: Application, identifier: str, fields: EndpointFields) -> tuple[Endpoint, bool]:
        """Create or overwrite an endpoint; True says that it is new.

        What is not given takes its default. The uid is kept, or on creation taken from `identifier`; secrets
        and headers, which have calls of their own, are kept.
        """
        async with self._registrar.editing:
            existing = await self._registrar.seek(Endpoint, application.workspace, identifier, parent=application.id)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.ENDPOINT)
                return await self.create(application, structs.replace(fields, uid=uid)), True
            required(given(fields), "url")
            kept = {"secrets", "headers_sealed", "disabled_reason"}
            defaults = {name: value for name, value in settable_defaults(Endpoint).items() if name not in kept}
            return await self._change(existing, defaults | cleared(Endpoint, given(fields))), False

    async def change(self, application: Application, identifier: str, fields: EndpointFields) -> Endpoint:
        """Change what is given; raises NotFound, Invalid, Conflict."""
        async with self._registrar.editing:
            existing = await self.get(application, identifier)
            return await self._change(existing, cleared(Endpoint, given(fields)))

    async def _change(self, existing: Endpoint, values: dict[str, Any]) -> Endpoint:
        uid = values.get("uid")
        self._check(values, uid=uid if uid != existing.uid else None)
        if "disabled" in values and values["disabled"] != existing.disabled:
            # Whoever switches it by hand overrules the reason for which Posthorn did.
            values = values | {"disabled_reason": None}
        return await self._registrar.put(structs.replace(existing, **values))

    async def delete(self, application: Application, identifier: str) -> None:
        """Delete an endpoint; raises NotFound. Its pending deliveries are cancelled."""
        async with self._registrar.editing:
            await self._registrar.remove(await self.get(application, identifier))

    async def secret(self, application: Application, identifier: str) -> str:
        """Return what the receiver verifies with: the current `whsec_…`, or the `whpk_…` of a key pair."""
        endpoint = await self.get(application, identifier)
        return self._secrets.public(endpoint.id, endpoint.secrets)

    async def rotate_secret(self, application: Application, identifier: str, new: NewSecret) -> str:
        """Sign with a new secret from now on, and with the old ones too until the grace period ends.

        Returns what the receiver verifies with, as `secret` does. Raises NotFound, Invalid.
        """
        async with self._registrar.editing:
            endpoint = await self.get(application, identifier)
            secrets = self._secrets.rotated(endpoint.id, endpoint.secrets, new, self._registrar.now_ms())
            await self._registrar.put(structs.replace(endpoint, secrets=secrets))
        return await self.secret(application, identifier)

    async def headers(self, application: Application, identifier: str) -> ShownHeaders:
        """Return the added headers; of sensitive ones only the names."""
        opened = self._opened_headers(await self.get(application, identifier))
        return ShownHeaders(
            headers={name: value for name, value in opened.items() if name.lower() not in SENSITIVE},
            sensitive=tuple(name for name in opened if name.lower() in SENSITIVE),
        )

    async def set_headers(self, application: Application, identifier: str, headers: dict[str, str]) -> None:
        """Replace all added headers; raises NotFound, Invalid at ("headers", name)."""
        async with self._registrar.editing:
            await self._put_headers(await self.get(application, identifier), headers)

    async def change_headers(
        self,
        application: Application,
        identifier: str,
        *,
        headers: dict[str, str | None],
        remove: tuple[str, ...] = (),
    ) -> None:
        """Set some added headers and remove others (those of `remove`, and those that are None)."""
        gone = {name.lower() for name in remove} | {name.lower() for name in headers}
        async with self._registrar.editing:
            endpoint = await self.get(application, identifier)
            kept = {name: value for name, value in self._opened_headers(endpoint).items() if name.lower() not in gone}
            added = {name: value for name, value in headers.items() if value is not None}
            await self._put_headers(endpoint, kept | added)

    async def _put_headers(self, endpoint: Endpoint, headers: dict[str, str]) -> None:
        sealed = self._sealed_headers(endpoint.id, headers) if headers else None
        await self._registrar.put(structs.replace(endpoint, headers_sealed=sealed))

    def _check(self, values: dict[str, Any], *, uid: str | None) -> None:
        check_uid(uid, ids.ENDPOINT)
        check_metadata(values.get("metadata"))
        if "url" in values:
            check_url(self._policy, values["url"], "url")

    def _sealed_headers(self, identifier: str, headers: dict[str, str]) -> str:
        check_headers(headers, "headers")
        return self._keyring.seal(msgspec.json.encode(headers), context=identifier)

    def _opened_headers(self, endpoint: Endpoint) -> dict[str, str]:
        if endpoint.headers_sealed is None:
            return {}
        opened = self._keyring.open(endpoint.headers_sealed, context=endpoint.id)
        return msgspec.json.decode(opened, type=dict[str, str])


def check_url(policy: AddressPolicy, url: str, *at: str | int) -> None:
    """Refuse a URL that would not be sent to; its owner sees it at once. Raises Invalid with the refusal's code."""
    checked = policy.check_url(url)
    if isinstance(checked, Refusal):
        raise Invalid.at(*at, msg=checked.detail, type=str(checked.code))

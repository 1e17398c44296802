"""Use cases without HTTP, over the store in memory."""

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Network

import pytest
from msgspec.structs import replace

from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Application
from posthorn.errors import Conflict, Invalid, NotFound, Unauthenticated
from posthorn.manage.access import ApiKeys
from posthorn.manage.applications import ApplicationFields, Applications
from posthorn.manage.endpoints import EndpointFields, Endpoints
from posthorn.manage.signing_secrets import NewSecret
from posthorn.testing.clock import ManualClock
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing

TOKEN = "an-operators-own-key"
HEADERS = {"Authorization": "Bearer hidden", "X-Team": "a"}


@dataclass
class House:
    clock: ManualClock
    store: MemoryStore
    directory: Directory
    keys: ApiKeys
    applications: Applications
    endpoints: Endpoints
    workspace: str

    async def application(self) -> Application:
        return await self.applications.create(self.workspace, ApplicationFields(name="Shop"))


@pytest.fixture
async def house() -> House:
    clock = ManualClock()
    store = MemoryStore(clock)
    directory = Directory()
    keys = ApiKeys(store, directory, clock, b"pepper")
    policy = AddressPolicy(allow=(IPv4Network("127.0.0.0/8"),))
    return House(
        clock=clock,
        store=store,
        directory=directory,
        keys=keys,
        applications=Applications(store, directory, clock),
        endpoints=Endpoints(store, directory, clock, KeyRing([b"k" * 32]), policy),
        workspace=(await keys.ensure_workspace("default")).id,
    )


async def test_a_key_is_known_by_its_digest_and_never_stored(house: House) -> None:
    key, token = await house.keys.create(house.workspace, "ci")
    assert len(token) == 47
    assert token.removeprefix("phk_").isalnum()
    assert house.keys.authenticate(token).workspace == house.workspace
    assert house.keys.authenticate(token).api_key_id == key.id
    assert token not in repr(house.directory.api_key(key.digest))
    for wrong in (None, "", token[:-1], token + "x", token.upper()):
        with pytest.raises(Unauthenticated):
            house.keys.authenticate(wrong)


async def test_another_pepper_knows_no_key(house: House) -> None:
    _, token = await house.keys.create(house.workspace, "ci")
    stranger = ApiKeys(house.store, house.directory, house.clock, b"other")
    with pytest.raises(Unauthenticated):
        stranger.authenticate(token)


async def test_an_operators_key_may_be_given_at_every_start(house: House) -> None:
    first, _ = await house.keys.create(house.workspace, "owner", TOKEN)
    second, token = await house.keys.create(house.workspace, "owner", TOKEN)
    assert (first, token) == (second, TOKEN)
    other = await house.keys.ensure_workspace("other")
    with pytest.raises(Conflict):
        await house.keys.create(other.id, "owner", TOKEN)


@pytest.mark.parametrize(
    "token", ["fifteen-chars..", "with a space in it", "with-\u00e9-accent-inside", "line\nbreak-inside-it"]
)
async def test_a_key_that_is_short_or_cannot_travel_is_refused(house: House, token: str) -> None:
    with pytest.raises(Invalid):
        await house.keys.create(house.workspace, "owner", token)


async def test_a_workspace_is_made_once(house: House) -> None:
    assert (await house.keys.ensure_workspace("default")).id == house.workspace
    assert (await house.keys.ensure_workspace("second")).id != house.workspace


async def test_deleting_an_application_takes_its_endpoints_along(house: House) -> None:
    application = await house.application()
    endpoint = await house.endpoints.create(application, EndpointFields(url="https://example.com"))
    kept = await house.endpoints.create(await house.application(), EndpointFields(url="https://example.com"))
    await house.applications.delete(house.workspace, application.id)
    assert house.directory.endpoint(endpoint.id) is None
    assert house.directory.endpoint(kept.id) == kept


async def test_changes_at_the_same_moment_do_not_lose_one_another(house: House) -> None:
    application = await house.application()
    endpoint = await house.endpoints.create(application, EndpointFields(url="https://example.com"))
    await asyncio.gather(
        house.endpoints.change(application, endpoint.id, EndpointFields(description="new")),
        house.endpoints.change(application, endpoint.id, EndpointFields(throttle_rate=3)),
        house.endpoints.rotate_secret(application, endpoint.id, NewSecret()),
        house.endpoints.set_headers(application, endpoint.id, {"x-a": "1"}),
    )
    stored = await house.endpoints.get(application, endpoint.id)
    assert (stored.description, stored.throttle_rate, len(stored.secrets)) == ("new", 3, 2)
    assert stored.headers_sealed is not None


async def test_secrets_and_headers_are_sealed_for_their_endpoint(house: House) -> None:
    application = await house.application()
    endpoint = await house.endpoints.create(application, EndpointFields(url="https://example.com"), headers=HEADERS)
    assert "hidden" not in repr(endpoint)
    secret = await house.endpoints.secret(application, endpoint.id)
    assert secret.startswith("whsec_")
    assert secret not in repr(endpoint)
    shown = await house.endpoints.headers(application, endpoint.id)
    assert (shown.headers, shown.sensitive) == ({"X-Team": "a"}, ("Authorization",))


async def test_a_patch_of_headers_keeps_the_sensitive_ones_it_does_not_name(house: House) -> None:
    application = await house.application()
    endpoint = await house.endpoints.create(application, EndpointFields(url="https://example.com"), headers=HEADERS)
    await house.endpoints.change_headers(application, endpoint.id, headers={"x-team": None, "X-New": "1"})
    shown = await house.endpoints.headers(application, endpoint.id)
    assert (shown.headers, shown.sensitive) == ({"X-New": "1"}, ("Authorization",))


async def test_an_asymmetric_secret_shows_its_public_half(house: House) -> None:
    application = await house.application()
    endpoint = await house.endpoints.create(
        application,
        EndpointFields(url="https://example.com"),
        secret="whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
    )
    shown = await house.endpoints.secret(application, endpoint.id)
    assert shown == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


async def test_a_wrong_secret_is_refused_under_the_name_it_was_given(house: House) -> None:
    application = await house.application()
    with pytest.raises(Invalid) as refused:
        await house.endpoints.create(application, EndpointFields(url="https://example.com"), secret="whsec_short")
    assert refused.value.problems[0].loc == ("secret",)
    endpoint = await house.endpoints.create(application, EndpointFields(url="https://example.com"))
    with pytest.raises(Invalid) as refused:
        await house.endpoints.rotate_secret(application, endpoint.id, NewSecret(key="whsec_short"))
    assert refused.value.problems[0].loc == ("key",)


async def test_enabling_an_endpoint_forgets_why_it_was_disabled(house: House) -> None:
    application = await house.application()
    endpoint = await house.endpoints.create(application, EndpointFields(url="https://example.com"))
    await house.store.replace(replace(endpoint, disabled=True, disabled_reason="gone"))
    kept = await house.endpoints.change(application, endpoint.id, EndpointFields(description="still off"))
    assert (kept.disabled, kept.disabled_reason) == (True, "gone")
    enabled = await house.endpoints.change(application, endpoint.id, EndpointFields(disabled=False))
    assert (enabled.disabled, enabled.disabled_reason) == (False, None)


async def test_a_replacement_under_an_unknown_id_of_ours_creates_nothing(house: House) -> None:
    application = await house.application()
    with pytest.raises(NotFound):
        await house.endpoints.replace(application, "ep_unknown", EndpointFields(url="https://example.com"))
    with pytest.raises(Invalid):
        await house.endpoints.replace(application, "a", EndpointFields(url="https://example.com", uid="b"))
    with pytest.raises(Invalid):
        await house.endpoints.replace(application, "a b", EndpointFields(url="https://example.com"))

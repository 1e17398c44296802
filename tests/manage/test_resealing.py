import msgspec
import pytest

from posthorn.engine.directory import Directory
from posthorn.engine.resources import Endpoint, SealedSecret, Secret, Source
from posthorn.manage.resealing import Resealing
from posthorn.testing.factories import a_secret, a_source, an_endpoint
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing, VaultError

OLD, NEW = b"o" * 32, b"n" * 32


def _sealed(ring: KeyRing, owner: str, text: str) -> SealedSecret:
    return SealedSecret(sealed=ring.seal(text.encode(), context=owner), created_ms=0)


async def _stored_under(ring: KeyRing) -> tuple[MemoryStore, Directory]:
    store, directory = MemoryStore(), Directory()
    source, endpoint, secret = a_source(), an_endpoint(), a_secret()
    await store.insert(
        msgspec.structs.replace(
            source,
            token_sealed=ring.seal(b"token", context=source.id),
            secrets=(_sealed(ring, source.id, "inbound"),),
        )
    )
    await store.insert(
        msgspec.structs.replace(
            endpoint,
            headers_sealed=ring.seal(b'{"x":"y"}', context=endpoint.id),
            secrets=(_sealed(ring, endpoint.id, "outbound"),),
        )
    )
    await store.insert(msgspec.structs.replace(secret, sealed=ring.seal(b"named", context=secret.id)))
    await directory.load(store)
    return store, directory


async def test_a_new_first_key_opens_everything_alone_after_resealing() -> None:
    store, directory = await _stored_under(KeyRing([OLD]))
    assert await Resealing(store, directory, KeyRing([NEW, OLD])).run() == 3

    alone = KeyRing([NEW])
    (source,), (endpoint,), (secret,) = (directory.every(kind) for kind in (Source, Endpoint, Secret))
    assert alone.open(source.token_sealed, context=source.id) == b"token"
    assert alone.open(source.secrets[0].sealed, context=source.id) == b"inbound"
    assert alone.open(endpoint.headers_sealed or "", context=endpoint.id) == b'{"x":"y"}'
    assert alone.open(endpoint.secrets[0].sealed, context=endpoint.id) == b"outbound"
    assert alone.open(secret.sealed, context=secret.id) == b"named"


async def test_what_the_first_key_sealed_stays_as_it_is() -> None:
    store, directory = await _stored_under(KeyRing([OLD]))
    before = directory.every(Source)
    assert await Resealing(store, directory, KeyRing([OLD, NEW])).run() == 0
    assert directory.every(Source) == before


async def test_a_missing_old_key_is_said_and_nothing_is_changed() -> None:
    store, directory = await _stored_under(KeyRing([OLD]))
    with pytest.raises(VaultError, match="master key"):
        await Resealing(store, directory, KeyRing([NEW])).run()

"""Sealing: what opens, what does not, rotation, and the canary."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.errors import PosthornError, StartRefused
from posthorn.vault import KeyRing, VaultError, key_id

OLD = bytes(range(32))
NEW = bytes(range(100, 132))
RING = KeyRing([OLD])


@settings(deadline=None)
@given(plaintext=st.binary(max_size=200), context=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens_in_its_context(plaintext: bytes, context: str) -> None:
    sealed = RING.seal(plaintext, context=context)
    assert RING.open(sealed, context=context) == plaintext
    with pytest.raises(VaultError, match="belongs to another place"):
        RING.open(sealed, context=context + "x")


def test_sealed_text_names_version_and_key_and_shows_nothing_of_the_value() -> None:
    sealed = RING.seal(b"open sesame", context="endpoint/1")
    version, identifier, box = sealed.split(".")
    assert (version, identifier) == ("v1", key_id(OLD))
    assert len(identifier) == 8
    assert len(box) == 52  # 12 + 11 + 16 bytes
    assert "sesame" not in sealed


def test_the_same_value_never_seals_to_the_same_text() -> None:
    texts = {RING.seal(b"value", context="c") for _ in range(100)}
    assert len({text.split(".")[2][:16] for text in texts}) == 100


@settings(deadline=None)
@given(data=st.data())
def test_any_change_of_a_sealed_text_is_an_error_and_never_another_value(data: st.DataObject) -> None:
    sealed = RING.seal(b"value", context="c")
    at = data.draw(st.integers(0, len(sealed) - 1))
    replacement = data.draw(st.characters().filter(lambda character: character != sealed[at]))
    with pytest.raises(VaultError):
        RING.open(sealed[:at] + replacement + sealed[at + 1 :], context="c")


def test_a_truncated_or_extended_text_does_not_open() -> None:
    sealed = RING.seal(b"value", context="c")
    for text in [
        *(sealed[:size] for size in range(len(sealed))),
        sealed + "A",
        sealed + "=",
        sealed + "AAAA",
    ]:
        with pytest.raises(VaultError):
            RING.open(text, context="c")


@settings(deadline=None)
@given(st.text())
def test_any_other_text_is_a_vault_error(text: str) -> None:
    for start in ("", "v1.", f"v1.{key_id(OLD)}."):
        with pytest.raises(VaultError):
            RING.open(start + text, context="c")


def test_a_vault_error_is_one_of_ours_and_says_the_way_out() -> None:
    foreign = KeyRing([NEW]).seal(b"value", context="c")
    with pytest.raises(PosthornError) as unknown:
        RING.open(foreign, context="c")
    assert key_id(NEW) in str(unknown.value)
    assert key_id(OLD) in str(unknown.value)
    assert "add that key" in str(unknown.value)
    with pytest.raises(VaultError, match="restore the row from a backup"):
        RING.open("plain text", context="c")


def test_a_value_passed_off_under_another_key_id_does_not_open() -> None:
    both = KeyRing([NEW, OLD])
    sealed = RING.seal(b"value", context="c")
    with pytest.raises(VaultError, match="altered or cut short"):
        both.open(sealed.replace(key_id(OLD), key_id(NEW)), context="c")


def test_rotation_seals_under_the_first_key_and_opens_under_all() -> None:
    before = RING.seal(b"value", context="c")
    during = KeyRing([NEW, OLD])
    assert during.open(before, context="c") == b"value"
    assert during.needs_reseal(before)
    after = during.seal(during.open(before, context="c"), context="c")
    assert not during.needs_reseal(after)
    assert KeyRing([NEW]).open(after, context="c") == b"value"
    with pytest.raises(VaultError):
        KeyRing([NEW]).open(before, context="c")


def test_needs_reseal_holds_for_keys_outside_the_ring_and_refuses_other_text() -> None:
    assert KeyRing([NEW]).needs_reseal(RING.seal(b"value", context="c"))
    with pytest.raises(VaultError):
        RING.needs_reseal("v2.00000000.AAAA")


@pytest.mark.parametrize("keys", [[], [b""], [bytes(16)], [bytes(33)], [OLD, OLD], [OLD, bytes(31)]])
def test_a_ring_of_no_wrong_or_repeated_keys_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        KeyRing(keys)


def test_repr_shows_key_ids_only() -> None:
    assert repr(KeyRing([NEW, OLD])) == f"KeyRing({key_id(NEW)}, {key_id(OLD)})"
    assert KeyRing([NEW, OLD]).key_ids == (key_id(NEW), key_id(OLD))


def test_the_canary_passes_under_every_ring_that_holds_its_key() -> None:
    canary = RING.make_canary()
    RING.check_canary(canary)
    KeyRing([NEW, OLD]).check_canary(canary)


def test_the_canary_refuses_the_start_under_another_key() -> None:
    with pytest.raises(StartRefused, match="does not fit this store") as refused:
        RING.check_canary(KeyRing([NEW]).make_canary())
    assert key_id(NEW) in str(refused.value)
    assert "POSTHORN_MASTER_KEY" in str(refused.value)


def test_a_damaged_canary_refuses_the_start() -> None:
    canary = RING.make_canary()
    for text in ("", canary[:-4], canary + "A", canary.upper()):
        with pytest.raises(StartRefused, match="does not fit this store"):
            RING.check_canary(text)


def test_another_sealed_value_is_no_canary() -> None:
    with pytest.raises(StartRefused):
        RING.check_canary(RING.seal(b"posthorn master key canary", context="elsewhere"))
    with pytest.raises(StartRefused, match="unknown value"):
        RING.check_canary(RING.seal(b"other", context="posthorn/canary"))

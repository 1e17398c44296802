"""What an automation was at an instant: known from its turns, and said to be unknown where they do not reach."""

from typing import Any

import pytest
from msgspec.structs import replace

from posthorn.engine.resources import Automation, Turn
from posthorn.manage.turns import MOST_TURNS, begun, first_published_ms, turn_after, turn_at, turned


def automation(**fields: Any) -> Automation:
    return Automation(id="auto_1", workspace="ws_1", name="A", **({"created_ms": 100, "updated_ms": 100} | fields))


def known(turn: Turn | None) -> tuple[int, bool] | None:
    return (turn.version, turn.enabled) if turn is not None else None


def paused_and_resumed() -> Automation:
    new = begun(automation())
    paused = turned(new, replace(new, enabled=False), 200)
    return turned(paused, replace(paused, enabled=True, version=2), 300)


@pytest.mark.parametrize(
    ("at_ms", "stood"),
    [(99, None), (100, (1, True)), (199, (1, True)), (200, (1, False)), (299, (1, False)), (300, (2, True))],
)
def test_a_turn_holds_from_its_instant_to_the_next(at_ms: int, stood: tuple[int, bool] | None) -> None:
    assert known(turn_at(paused_and_resumed(), at_ms)) == stood


def test_the_next_turn_is_the_first_after_an_instant() -> None:
    changed = paused_and_resumed()
    assert known(turn_after(changed, 100)) == (1, False)
    assert known(turn_after(changed, 200)) == (2, True)
    assert turn_after(changed, 300) is None


def test_a_new_name_is_no_turn() -> None:
    new = begun(automation())
    assert turned(new, replace(new, name="B"), 200).turns == new.turns


def test_one_that_was_stored_before_turns_were_kept_is_known_since_it_was_last_written() -> None:
    old = automation(updated_ms=150, version=3)
    assert turn_at(old, 149) is None
    assert known(turn_at(old, 150)) == (3, True)
    paused = turned(old, replace(old, enabled=False, updated_ms=200), 200)
    assert [known(turn_at(paused, at_ms)) for at_ms in (149, 150, 200)] == [None, (3, True), (3, False)]
    assert first_published_ms(paused) is None


def test_only_the_last_turns_are_kept_and_what_was_before_is_not_known() -> None:
    changed = begun(automation())
    for number in range(MOST_TURNS + 5):
        changed = turned(changed, replace(changed, enabled=not changed.enabled), 200 + number)
    assert len(changed.turns) == MOST_TURNS
    assert turn_at(changed, 200) is None
    assert first_published_ms(changed) is None


def test_what_began_as_a_draft_is_published_by_its_first_version() -> None:
    draft = begun(automation(version=0, enabled=False))
    assert first_published_ms(draft) is None
    assert first_published_ms(turned(draft, replace(draft, version=1, enabled=True), 250)) == 250

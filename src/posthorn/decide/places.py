"""Steps laid out flat: each is a place with a name, and knows where to go from there. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from posthorn.conditions import CompiledConditions, compile_conditions, decode_conditions
from posthorn.decide.requests import CompiledRequest, compile_send
from posthorn.engine.flows import Branch, EmitEvent, Send, SendAll, Split, Step, UpdateProfile, WaitForEvent
from posthorn.errors import Invalid
from posthorn.templating import Template, compile_template


class Place(Struct, frozen=True, kw_only=True):
    """A step, where it leads, and what of it is compiled.

    `ways` are the first steps of what is inside: of a branch its ways and then `otherwise`, of a split its shares, of a
    wait for an event what follows the event and what follows the timeout. None leads on to `then`.
    """

    step: Step
    then: str | None  #: what follows when the step, and all inside of it, is done
    ways: tuple[str | None, ...] = ()
    tests: tuple[CompiledConditions | None, ...] = ()
    requests: tuple[tuple[Send, CompiledRequest], ...] = ()
    data: Template | None = None
    values: tuple[tuple[str, Template], ...] = ()  #: attributes to set whose values are templates


def places_of(steps: Sequence[Step], blocks: Mapping[str, str]) -> dict[str, Place]:
    """Lay steps out. Raises Invalid for a name that is used twice, and for templates and conditions that are wrong."""
    layout = _Layout(blocks)
    layout.lay(steps, None)
    return layout.places


class _Layout:
    def __init__(self, blocks: Mapping[str, str]) -> None:
        self.places: dict[str, Place] = {}
        self._blocks = blocks

    def lay(self, steps: Sequence[Step], after: str | None) -> str | None:
        for number, step in enumerate(steps):
            following = steps[number + 1] if number + 1 < len(steps) else None
            if step.name in self.places:
                message = f"two steps are named {step.name!r}; each needs a name of its own"
                raise Invalid.at("flow", "steps", msg=message)
            then = following.name if following is not None else after
            self.places[step.name] = Place(step=step, then=then)  # taken, so that nothing inside can have the name
            self.places[step.name] = self._placed(step, then)
        return steps[0].name if steps else after

    def _placed(self, step: Step, then: str | None) -> Place:
        compiled: dict[str, Any] = {}
        match step:
            case Branch():
                ways = [self.lay(way.steps, then) for way in step.ways]
                compiled["ways"] = (*ways, self.lay(step.otherwise, then))
                compiled["tests"] = tuple(_test(way.conditions) for way in step.ways)
            case Split():
                compiled["ways"] = tuple(self.lay(share.steps, then) for share in step.shares)
            case WaitForEvent():
                compiled["ways"] = (self.lay(step.on_event, then), self.lay(step.on_timeout, then))
                compiled["tests"] = (_test(step.conditions),)
            case Send():
                compiled["requests"] = ((step, compile_send(step, self._blocks)),)
            case SendAll():
                compiled["requests"] = tuple((send, compile_send(send, self._blocks)) for send in step.sends)
            case EmitEvent():
                compiled["data"] = compile_template(step.data, escape="json")
            case UpdateProfile():
                compiled["values"] = tuple(_values(step))
        return Place(step=step, then=then, **compiled)


def _values(step: UpdateProfile) -> Iterator[tuple[str, Template]]:
    for name, value in step.changes.set.items():
        if isinstance(value, str):
            yield name, compile_template(value, escape="none")


def _test(raw: Any) -> CompiledConditions | None:
    return compile_conditions(decode_conditions(raw)) if raw is not None else None

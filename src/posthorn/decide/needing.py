"""What an automation's conditions and templates look at, found out when it is compiled."""

import re
from collections.abc import Iterable, Iterator, Mapping

from posthorn.conditions import CompiledConditions
from posthorn.conditions.needs import Needs, union
from posthorn.decide.places import Place
from posthorn.decide.requests import CompiledRequest, templates_in
from posthorn.engine.flows import OnCount, Trigger
from posthorn.templating import Template

_COUNTED = re.compile(r"""^counts(?:\.([^.\[\]]+)|\["([^"]+)"\]|\['([^']+)'\])""")


def needs_of(
    triggers: Iterable[Trigger],
    conditions: CompiledConditions | None,
    templates: Iterable[Template],
    places: Mapping[str, Place],
) -> Needs:
    """Return what has to be loaded to decide an automation and to go through its steps."""
    tests = [conditions, *(test for place in places.values() for test in place.tests)]
    counted = {trigger.event_type for trigger in triggers if isinstance(trigger, OnCount)}
    counted |= {name for template in templates for name in _counted(template)}
    return union(test.needs for test in tests if test is not None) | Needs(counts=frozenset(counted))


def templates_of(
    request: CompiledRequest | None, key: Template | None, places: Mapping[str, Place]
) -> Iterator[Template]:
    """Go through all templates of an automation."""
    requests = [request] if request is not None else []
    for place in places.values():
        requests += [request for _, request in place.requests]
        yield from (template for _, template in place.values)
        if place.data is not None:
            yield place.data
    for one in requests:
        yield one.url
        yield from (template for _, template in one.headers)
        if one.body is not None:
            yield one.body
        if one.call is not None:
            yield from templates_in(dict(one.call.inputs))
    if key is not None:
        yield key


def _counted(template: Template) -> Iterator[str]:
    for path in template.variables:
        found = _COUNTED.match(path)
        if found is not None:
            yield next(name for name in found.groups() if name)

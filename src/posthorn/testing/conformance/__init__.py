"""What every store has to do, as plain pytest tests.

A test module of an adapter provides two fixtures and imports the suites:

    @pytest.fixture
    def clock() -> ManualClock: ...

    @pytest.fixture
    def store(clock: ManualClock) -> Store: ...          # may be an async generator

    from posthorn.testing.conformance.journal import *
    from posthorn.testing.conformance.people import *
    from posthorn.testing.conformance.registry import *
    from posthorn.testing.conformance.work import *

The store has to take its time from that clock, starts empty, and is not shared between tests. The clock never stands
before a row's own time. `model.run_random_history` and `people_model.run_random_people` compare a store with the one
in memory. `takeovers.run_takeovers`
lets nodes take shards from each other while they decide; it may be given several open stores over the same data.
"""

from pkgutil import iter_modules

import pytest

# The suites are no test modules by name, so pytest has to be told to explain their assertions.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

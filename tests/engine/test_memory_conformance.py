"""The store in memory under the suite that every store has to pass."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

import pytest

from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.journal import *
from posthorn.testing.conformance.people import *
from posthorn.testing.conformance.registry import *
from posthorn.testing.conformance.work import *
from posthorn.testing.memory import MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock)

"""The intake that the clients talk to."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from intake_double import IntakeDouble


@pytest.fixture
def intake() -> Iterator[IntakeDouble]:
    with IntakeDouble() as double:
        yield double

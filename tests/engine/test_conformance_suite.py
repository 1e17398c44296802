"""The suites are taken over by star imports, where a second test of the same name would silently replace the first."""

from collections import Counter
from importlib import import_module
from pkgutil import iter_modules

import pytest

from posthorn.testing import conformance

GATHERING = {"work", "journal", "registry"}
SINGLE = sorted({module.name for module in iter_modules(conformance.__path__)} - GATHERING - {"world", "model"})


def _tests_of(name: str) -> list[str]:
    module = import_module(f"{conformance.__name__}.{name}")
    return [test for test in vars(module) if test.startswith("test_")]


def test_no_two_tests_of_the_suites_share_a_name() -> None:
    counts = Counter(test for name in SINGLE for test in _tests_of(name))
    assert [test for test, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", SINGLE)
def test_every_suite_is_gathered_by_one_of_the_ports(name: str) -> None:
    tests = _tests_of(name)
    assert tests
    gathered = {test for port in GATHERING for test in _tests_of(port)}
    assert set(tests) <= gathered

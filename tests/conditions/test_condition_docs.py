"""The examples of docs/conditions.md are conditions, and the page names every operator."""

import re
from pathlib import Path

import pytest

from posthorn.conditions import Operator, compile_conditions, decode_conditions
from posthorn.conditions.fields import ROOTS
from posthorn.conditions.tree import CountOperator

PAGE = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text()
EXAMPLES = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_accepted(example: str) -> None:
    compiled = compile_conditions(decode_conditions(example.encode()))
    assert compiled.explain({}).matched is compiled.matches({})


@pytest.mark.parametrize("name", [*Operator, *CountOperator, *ROOTS])
def test_every_operator_and_fact_is_described(name: str) -> None:
    assert re.search(rf"`{name}\b[^`]*`", PAGE)

"""The docs say what is there: links resolve, routes exist, codes are complete."""

import re
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from posthorn.api.app import PREFIX, build_app
from posthorn.conditions import Operator
from posthorn.decide.reasons import Reason
from posthorn.deliver.transport import FailureCode
from posthorn.engine.records import DecisionOutcome, DeliveryState, RequestOutcome
from posthorn.engine.runs import RunState
from posthorn.manage.whynot import Untried
from posthorn.signing.schemes import Cause, Verification

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
#: Answered before the framework is reached, so that the framework's own routes do not have them.
HOT = {("POST", "/app/{}/msg"), ("POST", "/event"), ("POST", "/event/cloudevents")}

_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_ROUTE = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S*)` \|", re.MULTILINE)
_REASON = re.compile(r"^\| `(\w+)` \| `(\w+)` \|", re.MULTILINE)
_PARAMETER = re.compile(r"\{[^}]*\}")


def links(page: Path) -> list[str]:
    found = _LINK.findall(_FENCED.sub("", page.read_text()))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problems_of(link: str, page: Path) -> str | None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f"{page.relative_to(ROOT)}: {link} leads nowhere"
    if anchor and anchor not in anchors(target):
        return f"{page.relative_to(ROOT)}: {link} names no heading of that page"
    return None


def documented_routes() -> set[tuple[str, str]]:
    text = (ROOT / "docs" / "api.md").read_text()
    return {(method, _PARAMETER.sub("{}", path)) for method, path in _ROUTE.findall(text)}


def routes() -> set[tuple[str, str]]:
    """Return the routes of the OpenAPI document, without their prefix."""
    # The document needs no running services.
    paths = build_app(cast("Any", None)).openapi_schema.to_schema()["paths"]
    return {
        (method.upper(), _PARAMETER.sub("{}", path.removeprefix(PREFIX)))
        for path, operations in paths.items()
        for method in operations
        if method != "head"
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    assert [problem for link in links(page) if (problem := problems_of(link, page))] == []


def test_a_link_to_nothing_and_an_unknown_heading_are_found() -> None:
    page = ROOT / "docs" / "api.md"
    assert problems_of("nothing.md", page) is not None
    assert problems_of("glossary.md#no-such-heading", page) is not None
    assert problems_of("glossary.md#things", page) is None


def test_every_route_of_the_api_page_exists() -> None:
    assert documented_routes() - routes() - HOT == set()


def test_every_route_is_on_the_api_page() -> None:
    assert (routes() | HOT) - documented_routes() == set()


def test_every_failure_code_is_on_the_delivery_page() -> None:
    text = (ROOT / "docs" / "delivery.md").read_text()
    assert [code.value for code in FailureCode if f"| `{code.value}` |" not in text] == []


def test_every_verification_and_every_cause_is_on_the_receive_page() -> None:
    text = (ROOT / "docs" / "receive.md").read_text()
    types = [scheme.__struct_config__.tag for scheme in Verification.__args__]
    assert [name for name in (*types, *Cause.__args__) if f"`{name}`" not in text] == []


def test_every_verification_example_is_one_that_sources_take() -> None:
    text = (ROOT / "docs" / "receive.md").read_text()
    examples = [line for line in text.splitlines() if line.startswith('{"type": ')]
    decoded = [msgspec.json.decode(example, type=Verification) for example in examples]
    assert {type(each) for each in decoded} == set(Verification.__args__)


def test_every_operator_is_on_the_page_of_conditions() -> None:
    text = (ROOT / "docs" / "conditions.md").read_text()
    assert [operator.value for operator in Operator if f"`{operator.value}`" not in text] == []


def test_every_state_is_drawn() -> None:
    text = (ROOT / "docs" / "design" / "states.md").read_text()
    states = (*RequestOutcome, *DeliveryState, *DecisionOutcome, *RunState)
    assert [state.value for state in states if f"`{state.value}`" not in text] == []


def test_the_table_of_reasons_is_the_one_of_the_code() -> None:
    text = (ROOT / "docs" / "automations.md").read_text()
    decisions = text.partition("## Decisions")[2].partition("\n## ")[0]
    assert _REASON.findall(decisions) == [(reason.outcome.value, reason.value) for reason in Reason]


def test_the_table_of_reasons_without_a_decision_is_the_one_of_the_code() -> None:
    text = (ROOT / "docs" / "automations.md").read_text()
    assert _REASON.findall(text.partition("\n## Why\n")[2]) == [(one.outcome, one.value) for one in Untried]


def test_the_reasons_of_each_outcome_stand_where_its_state_is_drawn() -> None:
    text = (ROOT / "docs" / "design" / "states.md").read_text()
    for outcome in DecisionOutcome:
        named = [f"`{reason.value}`" for reason in Reason if reason.outcome is outcome]
        assert f"| `{outcome.value}` | {', '.join(named)} |" in text


def test_every_design_decision_is_listed_and_short() -> None:
    folder = ROOT / "docs" / "design"
    index = (folder / "README.md").read_text()
    records = sorted(folder.glob("0*.md"))
    assert [record.name for record in records if f"]({record.name})" not in index] == []
    assert [record.name for record in records if len(record.read_text().splitlines()) > 60] == []
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))

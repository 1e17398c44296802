"""The seam: who hears what, what strictness refuses, what failures do."""

import ast
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from posthorn.telemetry import CATALOGUE, StandardLogBridge, Telemetry, UndeclaredSignal, subscribe_logs
from posthorn.telemetry.reference import telemetry_reference

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "posthorn"
Heard = list[tuple[str, dict[str, Any]]]


def listener(heard: Heard) -> Any:
    return lambda name, facts: heard.append((name, dict(facts)))


def test_a_subscriber_hears_the_names_that_it_asked_for() -> None:
    telemetry, heard = Telemetry(strict=True), Heard()
    telemetry.subscribe(listener(heard), "decision.made")
    telemetry.emit("decision.made", outcome="fired")
    telemetry.emit("server.stopped", seconds=1.0)
    assert heard == [("decision.made", {"outcome": "fired"})]


def test_a_subscriber_without_names_hears_everything() -> None:
    telemetry, heard = Telemetry(), Heard()
    telemetry.subscribe(listener(heard))
    for name in CATALOGUE:
        telemetry.emit(name)
    assert [name for name, _ in heard] == list(CATALOGUE)


def test_an_ended_subscription_hears_nothing_more() -> None:
    telemetry, heard, others = Telemetry(), Heard(), Heard()
    end = telemetry.subscribe(listener(heard), "decision.made")
    telemetry.subscribe(listener(others), "decision.made")
    end()
    telemetry.emit("decision.made", outcome="fired")
    assert (len(heard), len(others)) == (0, 1)


def test_a_fact_may_be_called_name() -> None:
    telemetry, heard = Telemetry(), Heard()
    telemetry.subscribe(listener(heard), "decision.made")
    telemetry.emit("decision.made", name="x", self="y")
    assert heard == [("decision.made", {"name": "x", "self": "y"})]


def test_strict_telemetry_refuses_undeclared_names_and_facts() -> None:
    telemetry = Telemetry(strict=True)
    with pytest.raises(UndeclaredSignal, match=r"no\.such"):
        telemetry.emit("no.such")
    with pytest.raises(UndeclaredSignal, match="surprise"):
        telemetry.emit("decision.made", outcome="fired", surprise=1)


def test_in_production_an_undeclared_name_is_reported_once() -> None:
    telemetry, heard = Telemetry(), Heard()
    telemetry.subscribe(listener(heard))
    telemetry.emit("no.such", x=1)
    telemetry.emit("no.such", x=2)
    assert heard == [("telemetry.undeclared", {"undeclared": "no.such"})]


def test_nobody_can_subscribe_to_an_undeclared_name() -> None:
    with pytest.raises(KeyError):
        Telemetry().subscribe(print, "no.such")


def test_a_failing_subscriber_harms_neither_emitter_nor_the_others_and_is_reported_once() -> None:
    telemetry, heard = Telemetry(), Heard()

    def fail(_name: str, _facts: Mapping[str, Any]) -> None:
        raise RuntimeError("broken")

    telemetry.subscribe(fail, "decision.made", "error.unexpected")
    telemetry.subscribe(listener(heard), "decision.made", "error.unexpected")
    telemetry.emit("decision.made", outcome="fired")
    telemetry.emit("decision.made", outcome="failed")
    assert [name for name, _ in heard] == ["error.unexpected", "decision.made", "decision.made"]
    assert heard[0][1]["where"] == "telemetry subscriber of decision.made"


def test_strict_telemetry_lets_a_subscribers_error_through() -> None:
    telemetry = Telemetry(strict=True)

    def fail(_name: str, _facts: Mapping[str, Any]) -> None:
        raise RuntimeError("broken")

    telemetry.subscribe(fail, "decision.made")
    with pytest.raises(RuntimeError):
        telemetry.emit("decision.made", outcome="fired")


def test_logging_at_info_leaves_the_hot_names_without_a_subscriber() -> None:
    telemetry = Telemetry()
    subscribe_logs(telemetry, level="info", json=True, stream=io.StringIO())
    listened = {name for name, subscribers in telemetry._subscribers.items() if subscribers}
    hot = {"append.committed", "attempt.finished", "decision.made", "delivery.settled", "request.captured"}
    assert not listened & hot
    assert {"server.started", "endpoint.disabled", "error.unexpected"} <= listened


def test_names_and_facts_of_the_catalogue_follow_the_convention() -> None:
    for name, signal in CATALOGUE.items():
        thing, dot, happened = name.partition(".")
        assert (thing.isidentifier(), dot, happened.isidentifier()) == (True, ".", True)
        assert signal.meaning.endswith(".")
        # These are the log line's own fields.
        assert not {"event", "level", "timestamp"} & signal.facts.keys()
    assert list(CATALOGUE) == sorted(CATALOGUE)


def test_the_code_emits_declared_names_with_exactly_their_facts() -> None:
    differing, seen = [], set()
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            match call:
                case ast.Call(func=ast.Attribute(attr="emit"), args=[ast.Constant(value=str(name))]):
                    seen.add(name)
                    facts = {keyword.arg for keyword in call.keywords}
                    if name not in CATALOGUE or facts != CATALOGUE[name].facts.keys():
                        differing.append(f"{path.name}:{call.lineno} {name}")
    assert differing == []
    assert {"append.committed", "attempt.finished", "request.captured"} <= seen


def test_the_page_of_telemetry_is_what_the_code_renders() -> None:
    assert (DOCS / "telemetry.md").read_text() == telemetry_reference(), "run `make docs`"


def test_warnings_of_libraries_reach_the_seam() -> None:
    telemetry, heard = Telemetry(strict=True), Heard()
    telemetry.subscribe(listener(heard), "log.written")
    logger = logging.Logger("library")  # noqa: LOG001 - one that no other test sees
    logger.addHandler(StandardLogBridge(telemetry))
    logger.info("quiet")
    logger.warning("disk %s", "full")
    assert heard == [("log.written", {"logger": "library", "message": "disk full", "exception": None})]

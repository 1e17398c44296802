"""Draws rows of the journal: one line each, and a whole thread as a tree. Pure; every value is foreign text."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree

from posthorn.cli.terminal import one_line, plain
from posthorn.cli.texts import _

Row = Mapping[str, Any]

_STYLES = {
    "accepted": "green",
    "delivered": "green",
    "fired": "green",
    "duplicate": "yellow",
    "pending": "yellow",
    "not_matched": "yellow",
    "not_eligible": "yellow",
    "cancelled": "yellow",
    "rejected": "red",
    "exhausted": "red",
    "failed": "red",
}
_KIND_WIDTH = 8


def draw_thread(thread: Row) -> Tree:
    """Draw a thread: request, then its event, decisions, deliveries and attempts, each below what it came from."""
    root = Tree(Text(_("thread"), style="dim"), hide_root=True)
    trunk = root
    for request in _rows(thread, "requests"):
        trunk = root.add(_request(request))
    event = thread.get("event")
    if isinstance(event, Mapping):
        _add_event(trunk, event, thread)
    return root


def describe_row(row: Row) -> Text:
    """Describe one row of the tail in one line."""
    kind = str(row.get("kind") or "")
    describe = _DESCRIPTIONS.get(kind, _unknown)
    return describe(row)


def _add_event(trunk: Tree, event: Row, thread: Row) -> None:
    branch = trunk.add(_event(event))
    if event.get("payload") is not None:
        branch.add(_quoted(_("data"), json.dumps(event["payload"], ensure_ascii=False)))
    deliveries = {str(each.get("id")): each for each in _rows(thread, "deliveries")}
    for decision in _rows(thread, "decisions"):
        twig = branch.add(_decision(decision))
        delivery = deliveries.pop(str(decision.get("deliveryId")), None)
        if delivery is not None:
            _add_delivery(twig, delivery, thread)
    for delivery in deliveries.values():
        _add_delivery(branch, delivery, thread)


def _add_delivery(branch: Tree, delivery: Row, thread: Row) -> None:
    twig = branch.add(_delivery(delivery))
    for attempt in _rows(thread, "attempts"):
        if attempt.get("deliveryId") == delivery.get("id"):
            leaf = twig.add(_attempt(attempt))
            if attempt.get("responseBody") and attempt.get("state") != "delivered":
                leaf.add(_quoted(_("answer"), attempt["responseBody"]))


def _request(row: Row) -> Text:
    line = _line("request", row, "receivedAt")
    line.append(f"  {one_line(row.get('method', ''))} → {one_line(row.get('answerStatus', ''))}  ")
    line.append(_state(row.get("outcome")))
    return _with_reason(line, row.get("cause"), row.get("detail"))


def _event(row: Row) -> Text:
    line = _line("event", row, "receivedAt")
    line.append("  ").append(plain(row.get("type", ""), "cyan"))
    if row.get("userId") is not None:
        line.append("  ").append(_("user {user}").format(user=one_line(row["userId"])))
    return line


def _decision(row: Row) -> Text:
    line = _line("decision", row, "decidedAt")
    line.append("  ").append(_state(row.get("outcome")))
    version = _("{automation} version {version}")
    line.append(
        "  " + version.format(automation=one_line(row.get("automationId")), version=one_line(row.get("version")))
    )
    return _with_reason(line, row.get("reason"), row.get("detail"))


def _delivery(row: Row) -> Text:
    line = _line("delivery", row, None)
    line.append("  ").append(_state(row.get("state")))
    line.append(f"  → {one_line(row.get('endpointId'))}")
    if row.get("nextAttemptAt") is not None:
        line.append("  " + _("next attempt {instant}").format(instant=one_line(row["nextAttemptAt"])))
    return _with_reason(line, row.get("reason"), None)


def _attempt(row: Row) -> Text:
    line = _line("attempt", row, "startedAt")
    line.append("  " + _("number {number}").format(number=one_line(row.get("number"))))
    line.append(f"  {one_line(row.get('method'))} {one_line(row.get('url'))} → ")
    status = row.get("responseStatus")
    line.append(plain(_("no answer") if status is None else status, _status_style(status)))
    line.append("  ").append(_state(row.get("state")))
    line.append(f"  {_timings(row.get('timings'))}")
    return _with_reason(line, row.get("error"), row.get("detail"))


def _quoted(label: str, text: Any) -> Text:
    return Text(f"{label} ", style="dim").append(plain(text))


def _unknown(row: Row) -> Text:
    return _line(one_line(row.get("kind")), row, None)


def _line(kind: str, row: Row, time_field: str | None) -> Text:
    line = Text()
    if time_field is not None and row.get(time_field) is not None:
        line.append(plain(_clock_of(row[time_field]), "dim")).append(" ")
    line.append(f"{_WORDS.get(kind, kind):<{_KIND_WIDTH}}", style="bold")
    return line.append(" ").append(plain(row.get("id", "")))


def _clock_of(instant: Any) -> str:
    """Return the time of day of an ISO 8601 instant, whose date is rarely news."""
    return str(instant).partition("T")[2].rstrip("Z") or str(instant)


def _state(value: Any) -> Text:
    return plain("" if value is None else value, _STYLES.get(str(value), ""))


def _status_style(status: Any) -> str:
    return "green" if isinstance(status, int) and 200 <= status < 300 else "red"


def _timings(timings: Any) -> str:
    if not isinstance(timings, Mapping):
        return ""
    phases = [
        f"{name.removesuffix('Us')} {value / 1000:.1f}" for name, value in timings.items() if isinstance(value, int)
    ]
    return one_line(f"{', '.join(phases)} ms")


def _with_reason(line: Text, code: Any, sentence: Any) -> Text:
    if code is not None:
        line.append("  ").append(plain(code, "magenta"))
    if sentence:
        line.append(": ").append(plain(sentence))
    return line


def _rows(thread: Row, name: str) -> Sequence[Row]:
    rows = thread.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


_DESCRIPTIONS: Mapping[str, Callable[[Row], Text]] = {
    "request": _request,
    "event": _event,
    "decision": _decision,
    "delivery": _delivery,
    "attempt": _attempt,
}
_WORDS: Mapping[str, str] = {
    "request": _("request"),
    "event": _("event"),
    "decision": _("decision"),
    "delivery": _("delivery"),
    "attempt": _("attempt"),
}

"""What became of a decision, in one sentence: its run, its requests, and what was answered to them. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from posthorn.clock import iso_text
from posthorn.decide.footprints import Track, track_of
from posthorn.engine.journal import DeliveryRow
from posthorn.engine.records import Attempt, Decision, DecisionOutcome, DeliveryState
from posthorn.engine.runs import Run, RunState

_MOST_SPOKEN = 3


class Sent(Struct, frozen=True, kw_only=True):
    """A request as it stands, and its last attempt where one was made and is kept."""

    delivery: DeliveryRow
    attempt: Attempt | None


def last_word(decisions: Sequence[Decision]) -> Decision:
    """Choose the decision that answers whether it fired, of one or more: the last that did, else the last."""
    fired = [decision for decision in decisions if decision.outcome is DecisionOutcome.FIRED]
    return (fired or list(decisions))[-1]


def told(decisions: Sequence[Decision], runs: Sequence[Run], sent: Sequence[Sent], lost: Sequence[str]) -> str:
    """Say in one sentence what was decided and what came of it; `lost` are ids of runs and requests not kept."""
    chosen = last_word(decisions)
    pieces = [chosen.detail]
    if len(decisions) > 1:
        pieces.append(f"{len(decisions)} decisions about it are kept")
        pieces += [_also(decision) for decision in decisions if decision is not chosen and _differs(decision, chosen)]
    pieces += [_run(run, chosen.event) for run in runs]
    pieces += [_request(one) for one in sent[:_MOST_SPOKEN]]
    if len(sent) > _MOST_SPOKEN:
        pieces.append(f"and {len(sent) - _MOST_SPOKEN} requests more")
    pieces += [f"{identifier} is not kept any more" for identifier in lost]
    return "; ".join(pieces)


def _differs(decision: Decision, chosen: Decision) -> bool:
    return decision.detail != chosen.detail


def _also(decision: Decision) -> str:
    return f"another says {decision.outcome.value}, {decision.reason}: {decision.detail}"


def _run(run: Run, event: str) -> str:
    track = track_of(run)
    name = f"the run {run.id}"
    if track.happening.id != event:
        name += f", which began to wait anew with {track.happening.id},"
    if run.state is RunState.ACTIVE:
        return f"{name} is active{_wait(track, run.wake_ms)}"
    last = track.path[-1] if track.path else None
    how = f": {last.what}{f', {last.detail}' if last.detail else ''}" if last is not None else ""
    return f"{name} is {run.state.value} since {iso_text(run.changed_ms)}{how}"


def _wait(track: Track, wake_ms: int | None) -> str:
    if track.waits is None:
        return ""
    if track.waits.held_ms is not None:
        return f" and held at {track.waits.step}, because the automation is paused"
    until = f", until {iso_text(wake_ms)} at most" if wake_ms is not None else ""
    return f" and waits at {track.waits.step} ({track.waits.kind.value}){until}"


def _request(sent: Sent) -> str:
    row = sent.delivery
    name = f"the request to {row.endpoint.partition('/')[2] or row.endpoint}"
    last = _answer(sent.attempt)
    times = f"{row.attempts} time{'' if row.attempts == 1 else 's'}"
    match row.state:
        case DeliveryState.DELIVERED:
            return f"{name} was delivered{f', {last}' if last else ''}"
        case DeliveryState.EXHAUSTED:
            return f"{name} was given up after it was tried {times}{f', the last time {last}' if last else ''}"
        case DeliveryState.CANCELLED:
            return f"{name} was cancelled{f': {row.reason}' if row.reason else ''}"
    due = f" at {iso_text(row.next_ms)}" if row.next_ms is not None else ""
    if not row.attempts:
        return f"{name} is queued and due{due}"
    return f"{name} failed {times}{f', the last time {last}' if last else ''}, and the next attempt is due{due}"


def _answer(attempt: Attempt | None) -> str:
    if attempt is None:
        return ""
    if attempt.response_status is None:
        return f"without an answer: {attempt.error or 'unknown'}"
    # A connector's vendor may answer 200 and mean no; the detail has its words.
    words = (attempt.detail or "").removeprefix(f"HTTP {attempt.response_status}").removeprefix(": ")
    meaning = f" ({words})" if words and attempt.state is not DeliveryState.DELIVERED else ""
    return f"answered {attempt.response_status}{meaning}"

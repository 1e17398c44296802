"""How fast a vendor wants to be called, kept for each account: the `rates` of the connectors' files."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from posthorn.clock import SECOND_MS, Clock
from posthorn.connectors import Rate
from posthorn.deliver.calling import Called, account_name

_PATIENCE_SECONDS = 1.0  # so long an attempt may wait in memory; beyond that its delivery is put off
_AHEAD_SECONDS = 0.3  # a delivery that was put off comes back so much before its turn: polls are not that exact
_MOST_PATIENT = 400  # attempts that may wait in memory at once: the rest of the slots is for others
_BURST_SHARE = 10  # one in so many of a rate may start at once
_MOST_TURNS = 50_000
_LOST_SECONDS = 60.0  # a turn that nobody came for is lost: its delivery was cancelled, or is another node's now
_MOST_PACES = 50_000

_OF_ACCOUNT = "credential"
_PaceName = tuple[bytes, Rate, str]  # account, rate, and the value that it counts by


class Pace:
    """Gives each request of a connector its turn, so that no span of `per_seconds` has more than `count` of them.

    The turns of one account are spaced by the generic cell rate algorithm (ITU-T I.371). A delivery that must wait
    long is put off and keeps its turn. Rates by an input (one message a second to a chat) come first, and only who is
    in turn there takes a turn of the whole account: a long queue for one chat keeps no other chat waiting.

    Turns are kept in memory: after a restart they are given anew, and a vendor that counts more strictly answers 429,
    which is a retry as any other.

    Nodes do not talk about it: each takes the part of a rate that its part of the shards is.
    """

    def __init__(self, clock: Clock, share: Callable[[], float]) -> None:
        """Make one; `share` tells which part of all deliveries this node makes, above 0 and at most 1."""
        self._clock = clock
        self._share = share
        self._next: dict[_PaceName, float] = {}  #: when the next request is in turn, were they evenly spaced
        self._turns: dict[str, tuple[float, int]] = {}  #: of deliveries that wait: when, and how many stages it ends
        self._patient = 0

    def wait_seconds(self, delivery: str, called: Called | None, keys: Mapping[str, str] | None) -> float:
        """Return how long a request must wait for its next turn; 0.0 when it has had all turns and may go."""
        if called is None or not called.action.rates:
            return 0.0
        now = self._clock.monotonic()
        turn, passed = self._turns.pop(delivery, (now, 0))
        is_taken = True
        stages = _stages(called.action.rates)
        while turn <= now and passed < len(stages):
            paces = [(account_name(called), rate, (keys or {}).get(rate.key, "")) for rate in stages[passed]]
            turn, is_taken = self._take_turn(paces, now)
            passed += is_taken
        if turn <= now:
            return 0.0
        if is_taken:
            self._turns[delivery] = turn, passed
        return turn - now

    def may_wait(self, seconds: float) -> bool:
        """Tell whether an attempt may wait in memory; when not, its delivery is put off by `put_off_ms`."""
        return seconds <= _PATIENCE_SECONDS and self._patient < _MOST_PATIENT

    async def wait(self, delivery: str, seconds: float) -> None:
        """Wait for a turn in memory. There may be a further one to wait for."""
        self._patient += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._patient -= 1
        if delivery in self._turns:
            self._turns[delivery] = 0.0, self._turns[delivery][1]

    def _take_turn(self, paces: Sequence[_PaceName], now: float) -> tuple[float, bool]:
        """Return when a request is in turn, and whether that turn is now its own."""
        if len(self._next) >= _MOST_PACES:
            self._next = {name: at for name, at in self._next.items() if at > now}
        share = self._share()
        spaced = [(name, *_spacing(name[1], share)) for name in paces]
        turn = max(max(now, self._next.get(name, now) - tolerance) for name, _, tolerance in spaced)
        if turn > now and len(self._turns) >= _MOST_TURNS:
            self._turns = {name: kept for name, kept in self._turns.items() if kept[0] > now - _LOST_SECONDS}
            if len(self._turns) >= _MOST_TURNS:
                return turn, False
        for name, interval, _ in spaced:
            self._next[name] = max(turn, self._next.get(name, turn)) + interval
        return turn, True


def put_off_ms(seconds: float) -> int:
    """Return for how long a delivery whose turn is in so many seconds is put off, in ms."""
    return int(max(seconds - _AHEAD_SECONDS, _AHEAD_SECONDS) * SECOND_MS)


def _stages(rates: Sequence[Rate]) -> list[list[Rate]]:
    by_key: dict[str, list[Rate]] = {}
    for rate in sorted(rates, key=lambda rate: rate.key == _OF_ACCOUNT):
        by_key.setdefault(rate.key, []).append(rate)
    return list(by_key.values())


def _spacing(rate: Rate, share: float) -> tuple[float, float]:
    """Return the seconds between two turns, and by how many a request may come before its even place."""
    burst = max(rate.count // _BURST_SHARE, 1)
    interval = rate.per_seconds / (rate.count - burst + 1) / share
    return interval, (burst - 1) * interval

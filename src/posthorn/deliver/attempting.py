"""One attempt: prepare, send, judge, write down. Reads as that sentence; the parts are pure."""

from collections.abc import Callable

import msgspec

from posthorn import ids
from posthorn.clock import SECOND_MS, Clock
from posthorn.deliver.calling import Tokens, hidden
from posthorn.deliver.classify import Verdict, finish_of, judge, judge_answer, retry_after_ms
from posthorn.deliver.pacing import Pace, put_off_ms
from posthorn.deliver.preparing import STORED_RESPONSE_BYTES, Prepared, prepare, requested
from posthorn.deliver.targets import LaneRules, LaneRulesSource, schedule_in_ms
from posthorn.deliver.transport import OutboundResponse, PhaseTimings, Refusal, Transport, TransportFailure
from posthorn.engine import settlements
from posthorn.engine.directory import Directory
from posthorn.engine.fairqueue import Finish
from posthorn.engine.records import Attempt, DeliveryState, DeliveryWork, Settlement
from posthorn.engine.schedule import DEFAULT_SCHEDULE_MS, next_due_ms
from posthorn.vault import KeyRing

_OWN_TROUBLE_MS = 5 * SECOND_MS
_NO_TIMINGS = PhaseTimings()
_encode = msgspec.json.Encoder().encode


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an attempt leads to."""

    settlement: Settlement
    finish: Finish
    is_gone: bool = False


class Attempter:
    """Makes attempts. Between them it holds nothing but tokens and turns, which can be had again."""

    def __init__(
        self,
        *,
        transport: Transport,
        lanes: LaneRulesSource,
        directory: Directory,
        key_ring: KeyRing,
        clock: Clock,
        random: Callable[[], float],
        share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """Make one; `share` tells which part of all deliveries this node makes, above 0 and at most 1."""
        self._transport = transport
        self._lanes = lanes
        self._directory = directory
        self._key_ring = key_ring
        self._clock = clock
        self._random = random
        self._tokens = Tokens(transport, clock)
        self._pace = Pace(clock, share)

    async def is_gone(self, lane: str) -> bool:
        """Tell whether a lane without rules is deleted for certain. Raises StoreUnavailable."""
        return await self._lanes.is_gone(lane, self._clock.now_ms())

    def rules(self, lane: str) -> LaneRules | None:
        """Return the present rules of a lane, None when what it belongs to is gone."""
        return self._lanes.rules(lane, self._clock.now_ms())

    async def attempt(self, work: DeliveryWork, rules: LaneRules, epoch: int) -> Outcome:
        """Try once to deliver, or put it off until its vendor wants to be called again."""
        request = requested(work, key_ring=self._key_ring)
        called = request.called if request is not None else None
        if request is not None and called is not None:
            while seconds := self._pace.wait_seconds(work.id, called, request.real.paced_by):
                if not self._pace.may_wait(seconds):
                    settlement = settlements.deferred(work, epoch, self._clock.now_ms() + put_off_ms(seconds))
                    return Outcome(settlement=settlement, finish=Finish.NOTHING_LEARNED)
                await self._pace.wait(work.id, seconds)
        started_ms = self._clock.now_ms()
        token = await self._tokens.token(called) if called is not None and called.needs_token else None
        if isinstance(token, TransportFailure):
            refusal = Refusal(code=token.code, detail=token.detail)
            return self._concluded(work, rules, epoch, started_ms, refusal, token)
        prepared = prepare(work, rules, request, now_ms=started_ms, token=token)
        if isinstance(prepared, Refusal):
            result: OutboundResponse | TransportFailure = TransportFailure(
                code=prepared.code, detail=prepared.detail, timings=_NO_TIMINGS
            )
        else:
            result = await self._transport.send(prepared.request)
        return self._concluded(work, rules, epoch, started_ms, prepared, result)

    def _concluded(
        self,
        work: DeliveryWork,
        rules: LaneRules,
        epoch: int,
        started_ms: int,
        prepared: Prepared | Refusal,
        result: OutboundResponse | TransportFailure,
    ) -> Outcome:
        called = prepared.called if isinstance(prepared, Prepared) else None
        judged = judge_answer(called, result) if called is not None else None
        if judged is not None and called is not None and judged.needs_new_token:
            self._tokens.drop(called)
        result = _without(prepared.secrets, result) if isinstance(prepared, Prepared) else result
        verdict = judged.verdict if judged is not None else judge(result)
        now_ms = self._clock.now_ms()
        if verdict is Verdict.NOT_OURS_TO_COUNT:
            settlement = settlements.deferred(work, epoch, now_ms + _OWN_TROUBLE_MS)
            return Outcome(settlement=settlement, finish=Finish.NOTHING_LEARNED)
        due_ms = None
        if verdict is Verdict.RETRY:
            due_ms = next_due_ms(
                self._schedule_of(work, rules),
                work.step,
                now_ms=now_ms,
                random=self._random(),
                retry_after_ms=_longer(judged.retry_after_ms if judged else None, retry_after_ms(result, now_ms)),
            )
        attempt = _written_down(work, rules, started_ms, _state_after(verdict, due_ms), due_ms, prepared, result)
        if judged is not None and verdict is not Verdict.DELIVERED:
            attempt = msgspec.structs.replace(attempt, detail=attempt.detail or judged.reason)
        if verdict is Verdict.DELIVERED:
            settlement = settlements.delivered(work, epoch, attempt)
        elif due_ms is None:
            settlement = settlements.exhausted(work, epoch, attempt)
        else:
            settlement = settlements.retry_at(work, epoch, attempt, due_ms)
        return Outcome(settlement=settlement, finish=finish_of(result), is_gone=verdict is Verdict.GONE)

    def _schedule_of(self, work: DeliveryWork, rules: LaneRules) -> tuple[int, ...]:
        if rules.schedule_ms is not None:
            return tuple(rules.schedule_ms)
        event_type = self._directory.event_type(rules.workspace, work.payload.type)
        if event_type is not None and event_type.retry_schedule_seconds is not None:
            return schedule_in_ms(event_type.retry_schedule_seconds)
        return DEFAULT_SCHEDULE_MS


def _without(
    secrets: tuple[str, ...], result: OutboundResponse | TransportFailure
) -> OutboundResponse | TransportFailure:
    """Mask secrets of the request in an answer that repeats them."""
    if isinstance(result, TransportFailure) or not secrets:
        return result
    return msgspec.structs.replace(result, body=hidden(result.body, secrets))


def _longer(one_ms: int | None, other_ms: int | None) -> int | None:
    """Wait as long as either says, in the body or in a header."""
    given = [each for each in (one_ms, other_ms) if each is not None]
    return max(given, default=None)


def _state_after(verdict: Verdict, due_ms: int | None) -> DeliveryState:
    if verdict is Verdict.DELIVERED:
        return DeliveryState.DELIVERED
    return DeliveryState.EXHAUSTED if due_ms is None else DeliveryState.PENDING


def _written_down(
    work: DeliveryWork,
    rules: LaneRules,
    started_ms: int,
    state: DeliveryState,
    due_ms: int | None,
    prepared: Prepared | Refusal,
    result: OutboundResponse | TransportFailure,
) -> Attempt:
    timings = result.timings
    response = result if isinstance(result, OutboundResponse) else None
    failure = result if isinstance(result, TransportFailure) else None
    return Attempt(
        id=ids.new_id(ids.ATTEMPT, started_ms),
        workspace=rules.workspace,
        application=rules.application,
        delivery=work.id,
        event=work.event,
        endpoint=work.endpoint,
        number=work.attempts + 1,
        trigger=work.trigger,
        state=state,
        started_ms=started_ms,
        next_ms=due_ms,
        method=prepared.request.method if isinstance(prepared, Prepared) else "POST",
        url=prepared.url if isinstance(prepared, Prepared) else (rules.url or ""),
        request_headers=_encode(prepared.shown_headers) if isinstance(prepared, Prepared) else b"[]",
        response_status=response.status if response else None,
        response_headers=_headers_json(response.headers) if response else None,
        response_body=response.body[:STORED_RESPONSE_BYTES] if response else None,
        error=failure.code.value if failure else None,
        detail=failure.detail if failure else None,
        dns_us=timings.dns_us,
        connect_us=timings.connect_us,
        tls_us=timings.tls_us,
        wait_us=timings.wait_us,
        total_us=timings.total_us,
    )


def _headers_json(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return _encode([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])

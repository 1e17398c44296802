"""An automation was deleted, resumed or published anew: each of its runs is looked at by the owner of its person.

It goes through the runs in pages, with a timer that remembers how far it came, as schedules go through people.
"""

import msgspec

from posthorn.clock import SECOND_MS
from posthorn.decide.case import Case
from posthorn.engine.profiles import automation_profile
from posthorn.engine.runs import RunQuery, RunState, Timer, TimerKind, timer_of

_PAGE = 200
_SPREADING_MS = 2 * SECOND_MS  # until then every node knows the automation as it is now


def begin(case: Case, automation: str) -> None:
    """Begin to look at the runs of an automation; one look that is under way begins anew."""
    _go_through(case, automation, None, case.now_ms + _SPREADING_MS)


def look_at_page(case: Case, timer: Timer) -> None:
    """Let the next runs be looked at, the newest first: those that begin meanwhile know what is in force."""
    after = msgspec.json.decode(timer.data, type=str | None)
    query = RunQuery(workspace=case.workspace, automation=timer.about, state=RunState.ACTIVE, after=after, limit=_PAGE)
    page = case.memory.run_page(query)
    for run in page.runs:
        case.put_timer(
            timer_of(
                run.profile,
                TimerKind.LOOK,
                run.id,
                identifier=f"{run.id}/look",
                due_ms=case.now_ms,
            )
        )
    if page.more:
        _go_through(case, timer.about, page.runs[-1].id, case.now_ms)


def _go_through(case: Case, automation: str, after: str | None, due_ms: int) -> None:
    profile = automation_profile(case.workspace, automation)
    case.put_timer(
        timer_of(
            profile,
            TimerKind.RUNS,
            automation,
            identifier=f"{profile}/runs",
            due_ms=due_ms,
            data=msgspec.json.encode(after),
        )
    )

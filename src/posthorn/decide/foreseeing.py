"""What most of a batch will ask for, so that it is asked for at once. What is not foreseen is asked for later."""

from collections.abc import Sequence

from posthorn.decide.eligibility import eligibility_key
from posthorn.decide.rules import Rules
from posthorn.engine.profiles import user_of
from posthorn.engine.records import DecisionWork, EligibilityKey, Recall
from posthorn.engine.runs import Timer


def foreseen(works: Sequence[DecisionWork | Timer], rules: Rules) -> Recall:
    """Return what deciding these will need to know, as far as their types tell."""
    profiles: set[str] = set()
    counts: set[tuple[str, str]] = set()
    moving: set[str] = set()
    runs: set[str] = set()
    firings: set[EligibilityKey] = set()
    for work in works:
        if user_of(work.profile) is not None:
            profiles.add(work.profile)
        if isinstance(work, Timer):
            runs.add(work.about)
            continue
        of_type = rules.for_event(work.event.workspace, work.event.type)
        keys = (eligibility_key(automation, work.event.user, "") for automation in of_type.keyless)
        firings.update(key for key in keys if key is not None)
        counts.update((work.profile, name) for name in of_type.counts)
        if of_type.moving:
            moving.add(work.profile)
    return Recall(
        profiles=frozenset(profiles),
        counts=frozenset(counts),
        active_runs=frozenset(moving),
        runs=frozenset(runs),
        firings=frozenset(firings),
    )

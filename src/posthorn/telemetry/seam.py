"""The seam itself: who emits does not know who listens, and pays next to nothing when nobody does."""

from collections.abc import Callable, Mapping
from typing import Any

from posthorn.telemetry.catalogue import CATALOGUE

Facts = Mapping[str, Any]
Subscriber = Callable[[str, Facts], None]

_OWN_FAILURE = "error.unexpected"
_UNDECLARED = "telemetry.undeclared"


class UndeclaredSignal(Exception):
    """A name or fact was emitted that the catalogue does not declare. Raised in strict mode only."""


class Telemetry:
    """Hands facts to subscribers, in the emitting thread.

    A subscriber that raises never harms the emitter: its first failure for a name is emitted as
    `error.unexpected`. With `strict` (for tests) undeclared names and facts raise UndeclaredSignal, and
    subscribers' errors pass through.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._subscribers: dict[str, tuple[Subscriber, ...]] = dict.fromkeys(CATALOGUE, ())
        self._reported: set[tuple[str, int]] = set()

    def subscribe(self, subscriber: Subscriber, *names: str) -> Callable[[], None]:
        """Listen to these names, or to all when none is given; return what ends it.

        Raises KeyError for an undeclared name.
        """
        chosen = names or tuple(CATALOGUE)
        for name in chosen:
            self._subscribers[name] = (*self._subscribers[name], subscriber)

        def unsubscribe() -> None:
            for name in chosen:
                self._subscribers[name] = tuple(each for each in self._subscribers[name] if each is not subscriber)

        return unsubscribe

    def emit(self, name: str, /, **facts: object) -> None:
        """Tell whoever listens to this name."""
        subscribers = self._subscribers.get(name)
        if self._strict:
            _check_declared(name, facts)
        if not subscribers:
            if subscribers is None:
                self._report_undeclared(name)
            return
        for subscriber in subscribers:
            try:
                subscriber(name, facts)
            except Exception as error:
                if self._strict:
                    raise
                self._report_failure(name, subscriber, error)

    def _report_undeclared(self, name: str) -> None:
        # From now on the name counts as declared, so that a hot path warns once and not at every event.
        self._subscribers[name] = ()
        self.emit(_UNDECLARED, undeclared=name)

    def _report_failure(self, name: str, subscriber: Subscriber, error: Exception) -> None:
        report = (name, id(subscriber))
        if name == _OWN_FAILURE or report in self._reported:
            return
        self._reported.add(report)
        self.emit(_OWN_FAILURE, where=f"telemetry subscriber of {name}", exception=error)


def _check_declared(name: str, facts: Facts) -> None:
    signal = CATALOGUE.get(name)
    if signal is None:
        raise UndeclaredSignal(f"{name!r} is not in posthorn.telemetry.catalogue; declare it there")
    surplus = facts.keys() - signal.facts.keys()
    if surplus:
        raise UndeclaredSignal(f"{name!r} does not declare {', '.join(sorted(surplus))}; see the catalogue")

"""How many attempts may start in a second. Plain memory, exact because one node owns all that share a throttle."""

_BURST_SHARE = 0.1
_ENOUGH = 1.0 - 1e-6  # rounding must not cost somebody the turn that they come for


class Throttle:
    """Lets so many attempts start in a second: those of a lane, or of all lanes of one automation together.

    What was idle may burst by a tenth of its rate: with a whole second's worth saved up, a receiver that allows ten a
    second would get twenty within one.
    """

    __slots__ = ("__weakref__", "rate", "tokens", "tokens_at")

    def __init__(self) -> None:
        self.rate: int | None = None  #: None: no limit
        self.tokens = 1.0
        self.tokens_at = 0.0

    def turn_at(self, now: float, after: int = 0) -> float:
        """Return when one more attempt may start, after so many others: `now`, or later."""
        if self.rate is None:
            return now
        most = max(1.0, self.rate * _BURST_SHARE)
        self.tokens = min(most, self.tokens + (now - self.tokens_at) * self.rate)
        self.tokens_at = now
        left = self.tokens - after
        return now if left >= _ENOUGH else now + (1.0 - left) / self.rate

    def take(self) -> None:
        """Count an attempt that starts."""
        if self.rate is not None:
            self.tokens -= 1.0

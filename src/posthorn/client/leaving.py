"""The end of the process and its forks: what waits is sent before the one, and only by the parent after the other."""

import atexit
import os
import time
import weakref
from multiprocessing import util
from typing import Protocol

from posthorn.client.answers import Outcome
from posthorn.client.outbox import Batch, Finished, Outbox, Wait
from posthorn.client.posting import BlockingPoster

_LONGEST_WAIT_SECONDS = 3_600.0


class Leaving(Protocol):
    """Something that holds events of this process."""

    def begin_leaving(self) -> None:
        """Take nothing more and hurry. Returns at once."""

    def finish_leaving(self) -> None:
        """Wait until everything is sent or the time given for it is over."""

    def after_fork(self) -> None:
        """Forget, in a child process, what the parent holds and sends."""


class _Open:
    """Whoever has to be told. Weak: a client that is gone needs nothing."""

    def __init__(self) -> None:
        self.members: weakref.WeakSet[Leaving] = weakref.WeakSet()

    def leave(self) -> None:
        members = list(self.members)
        # All begin before one is waited for, so that their times run side by side.
        for member in members:
            member.begin_leaving()
        for member in members:
            member.finish_leaving()

    def after_fork(self) -> None:
        for member in list(self.members):
            member.after_fork()


_open = _Open()
atexit.register(_open.leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.after_fork)
# Children of multiprocessing end without running atexit, and forget the finalizers that they inherit.
util.register_after_fork(_open, lambda known: util.Finalize(None, known.leave, exitpriority=0))


def watch(member: Leaving) -> None:
    """Tell this one about forks and the end of the process, for as long as it lives."""
    _open.members.add(member)


class Drain:
    """Empties an outbox from the calling thread, for when its own thread or task is gone."""

    def __init__(self, outbox: Outbox, poster: BlockingPoster, deadline: float) -> None:
        self._outbox = outbox
        self._poster = poster
        self._deadline = deadline

    def next_outcome(self) -> Outcome | None:
        """Send the next batch; None when the outbox, which must be closing, is finished."""
        while True:
            now = time.monotonic()
            match self._outbox.next(now):
                case Batch() as batch:
                    return self._poster.post(batch, within_seconds=max(0.1, self._deadline - now))
                case Wait(seconds=seconds):
                    time.sleep(min(seconds or 0.0, _LONGEST_WAIT_SECONDS))
                case Finished():
                    return None

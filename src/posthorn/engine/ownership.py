"""Which shards of one stage this node owns, and how nodes share them evenly."""

from collections.abc import Callable, Collection, Sequence

from posthorn.clock import Clock
from posthorn.engine.cluster import ALONE, Stage, Tempo
from posthorn.engine.ports import WorkStore
from posthorn.engine.shards import SHARDS
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry

Busy = Callable[[], Collection[int]]  #: tells the shards with work in flight


def fair_share(node: str, peers: Sequence[str]) -> int:
    """Return how many of the 256 shards are this node's, so that all shares differ by one at most and add up."""
    if node not in peers:
        return 0
    whole, rest = divmod(SHARDS, len(peers))
    return whole + (sorted(peers).index(node) < rest)


def nothing_in_flight() -> Collection[int]:
    """Stand for a stage that never has work in flight."""
    return ()


class Ownership:
    """Leases shards and tells, exactly enough, which ones may be worked on now.

    Work stops a little before a lease runs out: a node that was frozen must not act on what another may own.

    A shard that another node is to have is given up once nothing of it is in flight here; until then no new work of it
    begins. So a node that joins or leaves repeats no delivery.
    """

    def __init__(
        self,
        *,
        store: WorkStore,
        node: str,
        clock: Clock,
        telemetry: Telemetry,
        stage: Stage = Stage.DELIVER,
        tempo: Tempo = ALONE,
        busy: Busy = nothing_in_flight,
    ) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._telemetry = telemetry
        self.tempo = tempo
        self.stage = stage
        self.busy = busy
        self._held: dict[int, int] = {}
        self._leaving: set[int] = set()
        self._epochs: dict[int, int] = {}
        self._until_ms = 0
        self._has_left = False
        self.generation = 0  #: grows whenever shards are won or lost, or were not worked on for a while

    @property
    def epochs(self) -> dict[int, int]:
        """The shards that may be worked on and their epochs; empty once the leases are about to run out."""
        return self._epochs if self._clock.now_ms() < self._until_ms - self.tempo.stop_early_ms else {}

    @property
    def is_handing_over(self) -> bool:
        """Whether shards wait for their work in flight to end before another node can have them."""
        return bool(self._leaving)

    async def renew(self, peers: Sequence[str]) -> None:
        """Extend what is held, take what is free up to the fair share among `peers`, give up what is above it.

        Raises StoreUnavailable.
        """
        share = 0 if self._has_left else fair_share(self._node, peers)
        now_ms = self._clock.now_ms()
        leases = await self._store.lease(
            self._node,
            self.stage,
            now_ms=now_ms,
            until_ms=now_ms + self.tempo.lease_ms,
            most=max(share - len(self._held), 0),
        )
        self._accept({lease.shard: lease.epoch for lease in leases})
        self._until_ms = min((lease.until_ms for lease in leases), default=0)
        self._choose_leaving(0 if self._has_left else share)  # it may have begun to leave meanwhile
        await self.hand_over()

    async def hand_over(self) -> None:
        """Give up the leaving shards that have nothing in flight. Raises StoreUnavailable."""
        idle = sorted(self._leaving - set(self.busy())) if self._leaving else []
        if not idle:
            return
        await self._store.release(self._node, self.stage, idle)
        self._leaving.difference_update(idle)
        held = {shard: epoch for shard, epoch in self._held.items() if shard not in idle}
        self._tell(held)
        self._held = held

    def leave(self) -> None:
        """Begin no new work; from now on shards are only given up."""
        self._has_left = True
        self._leaving = set(self._held)
        self._set_epochs()

    def join(self) -> None:
        """Take part again, after `leave`."""
        self._has_left = False

    async def release_all(self) -> None:
        """Give up everything at once, whatever is in flight. Raises StoreUnavailable."""
        self._held, self._leaving, self._epochs = {}, set(), {}
        await self._store.release(self._node, self.stage)

    def _accept(self, held: dict[int, int]) -> None:
        # Leases that were renewed at the last moment were not worked on for a while: what was due then was put aside.
        if self._until_ms > 0 and self._clock.now_ms() >= self._until_ms - self.tempo.stop_early_ms:
            self.generation += 1
        self._tell(held)
        self._held = held
        self._leaving &= held.keys()

    def _tell(self, held: dict[int, int]) -> None:
        if held == self._held:
            return
        self._telemetry.emit(
            "lease.changed",
            node=self._node,
            stage=self.stage,
            owned=len(held),
            won=len(held.keys() - self._held.keys()),
            lost=len(self._held.keys() - held.keys()),
        )

    def _choose_leaving(self, share: int) -> None:
        """Choose what is too much, shards without work in flight first; what leaves already, goes on leaving."""
        surplus = len(self._held) - len(self._leaving) - share
        if surplus > 0:
            busy = set(self.busy())
            staying = sorted(self._held.keys() - self._leaving, key=lambda shard: (shard in busy, -shard))
            self._leaving.update(staying[:surplus])
        elif surplus < 0 and not self._has_left:
            self._leaving.difference_update(sorted(self._leaving)[:-surplus])
        self._set_epochs()

    def _set_epochs(self) -> None:
        epochs = {shard: epoch for shard, epoch in self._held.items() if shard not in self._leaving}
        if epochs != self._epochs:
            self.generation += 1  # what was won may have been worked on by another node meanwhile
        self._epochs = epochs


async def release_quietly(ownership: Ownership, telemetry: Telemetry) -> None:
    """Give everything up; a store that is away lets the leases run out by themselves."""
    try:
        await ownership.release_all()
    except StoreUnavailable as error:
        telemetry.emit("store.unavailable", cause=str(error))

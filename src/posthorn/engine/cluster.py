"""Nodes that share a store: what each is, what it may do, and how often it shows that it lives."""

from enum import StrEnum

from msgspec import Struct

from posthorn.clock import MINUTE_MS, SECOND_MS


class Role(StrEnum):
    """What a node does. Every node does all of it unless it is told otherwise."""

    RECEIVE = "receive"  #: answers at the doors, consumes from brokers
    DECIDE = "decide"  #: decides events of the profiles in its shards
    DELIVER = "deliver"  #: sends to the endpoints in its shards


class Stage(StrEnum):
    """Work that is leased by shard. The 256 shards of one stage are leased apart from those of the other."""

    DECIDE = "decide"
    DELIVER = "deliver"


class Node(Struct, frozen=True, kw_only=True):
    """A process that serves. It counts as alive until `until_ms`."""

    id: str
    name: str  #: host name and process id, for people
    version: str
    roles: tuple[Role, ...]
    started_ms: int
    seen_ms: int
    until_ms: int


class NodeStanding(Struct, frozen=True, kw_only=True):
    """A node, the shards that it owns, and how late the oldest work in them is."""

    node: Node
    deciding: int  #: shards of the stage "decide" whose lease it holds
    delivering: int  #: shards of the stage "deliver" whose lease it holds
    decide_lag_ms: int  #: age of the oldest event that waits to be decided, 0 when none does
    deliver_lag_ms: int  #: by how much the oldest due delivery is late, 0 when none is


class Tempo(Struct, frozen=True, kw_only=True):
    """How often a node renews its leases and looks for work that it was not told of."""

    lease_ms: int
    renew_seconds: float
    stop_early_ms: int  #: work stops so long before a lease runs out: a clock may be a little off
    poll_seconds: float
    look_back_ms: int  #: how far a poll looks back for what was committed late
    rescan_ms: int  #: how often all lanes are looked at, for what was committed later still


ALONE = Tempo(
    lease_ms=15 * SECOND_MS,
    renew_seconds=5.0,
    stop_early_ms=3 * SECOND_MS,
    poll_seconds=0.1,
    look_back_ms=500,
    rescan_ms=MINUTE_MS,
)
"""For a process that has the store to itself."""

SHARED = Tempo(
    lease_ms=7 * SECOND_MS,
    renew_seconds=1.5,
    stop_early_ms=1500,
    poll_seconds=0.04,
    look_back_ms=1000,
    rescan_ms=15 * SECOND_MS,
)
"""For several nodes: a dead one's shards are with others after 8.5 s at most."""

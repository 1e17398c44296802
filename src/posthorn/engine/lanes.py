"""Lanes of automations: one for each automation and host, so that one dead host delays no other."""

from urllib.parse import urlsplit

from posthorn.engine.shards import shard_of


def automation_lane(automation: str, url: str) -> str:
    """Name the lane of a rendered request. A URL without a usable host gets a lane too: its attempt will say why."""
    try:
        host = urlsplit(url).netloc.rpartition("@")[2].lower()[:256]
    except ValueError:
        host = ""
    return f"{automation}/{host}"


def owner_of(lane: str) -> str:
    """Return the id of the endpoint or the automation that a lane belongs to."""
    return lane.partition("/")[0]


def lane_shard(lane: str) -> int:
    """Return the shard of a lane. Those of one automation share theirs: one node owns them all, and their throttle."""
    return shard_of(owner_of(lane))

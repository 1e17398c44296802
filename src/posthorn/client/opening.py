"""Checks what a client is made with. Pure."""

from posthorn.client.errors import InvalidCall
from posthorn.client.lanes import Lane, LaneName, event_lane, tracking_lane
from posthorn.client.options import Options


def lanes_of(url: str, *, write_key: str | None, api_key: str | None, options: Options) -> dict[LaneName, Lane]:
    """Return the lanes for which there is a key. Raises InvalidCall."""
    lanes = {}
    if write_key is not None:
        lanes[LaneName.TRACKING] = tracking_lane(url, write_key, gzip_from_bytes=options.gzip_from_bytes)
    if api_key is not None:
        lanes[LaneName.EVENTS] = event_lane(url, api_key)
    if not lanes:
        raise InvalidCall("a client needs a write_key (track, identify, …), an api_key (publish), or both")
    return lanes

"""Lanes of automations: one for each automation and host, so that one dead host delays no other."""

from urllib.parse import urlsplit


def automation_lane(automation: str, url: str) -> str:
    """Name the lane of a rendered request. A URL without a usable host gets a lane too: its attempt will say why."""
    try:
        host = urlsplit(url).netloc.rpartition("@")[2].lower()[:256]
    except ValueError:
        host = ""
    return f"{automation}/{host}"

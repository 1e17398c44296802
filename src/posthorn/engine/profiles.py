"""Whose history an event belongs to, and whether there is anything to decide about it."""

from posthorn.engine.directory import Directory
from posthorn.engine.flows import Always


def user_profile(workspace: str, user: str) -> str:
    """Name a person's profile."""
    return f"{workspace}/user/{user}"


def workspace_of(profile: str) -> str:
    """Return the workspace of a profile."""
    return profile.partition("/")[0]


def user_of(profile: str) -> str | None:
    """Return the user id of a person's profile, None when it is that of events without a user."""
    _, separator, user = profile.partition("/user/")
    return user if separator else None


def automation_profile(workspace: str, automation: str) -> str:
    """Name the line in which an automation's own work waits: its schedule."""
    return f"{workspace}/automation/{automation}"


def shared_profile(workspace: str) -> str:
    """Name the profile that events without a user share when a rule remembers its firings."""
    return f"{workspace}/nobody"


def profile_of(directory: Directory, workspace: str, event_type: str, user: str | None, event: str) -> str | None:
    """Return the profile whose decision work an event is, or None when nothing is to be decided.

    A user's events are always work: they are counted. Other events are work when an automation listens to their type;
    they spread over the shards, unless a rule remembers its firings: then one owner must see them all.
    """
    if user is not None:
        return user_profile(workspace, user)
    automations = directory.automations_for(workspace, event_type)
    if not automations:
        return None
    if all(isinstance(automation.eligibility, Always) for automation in automations):
        return f"{workspace}/event/{event}"
    return shared_profile(workspace)

"""Processor time and memory of a process with all its children, those that came and went included."""

import contextlib

import psutil


class Family:
    """A process and its descendants. Linux adds a child's processor time to its parent once the parent reaped it."""

    def __init__(self, pid: int) -> None:
        self._head = psutil.Process(pid)

    def members(self) -> list[psutil.Process]:
        """Return the process and the descendants that live now."""
        return [self._head, *self._head.children(recursive=True)]

    def workers(self) -> set[int]:
        """Return the ids of its direct children."""
        return {child.pid for child in self._head.children()}

    def cpu_seconds(self) -> float:
        """Return user and system time of all, dead ones too."""
        total = 0.0
        for member in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_bytes(self) -> int:
        """Return the memory in use. What several processes share is counted once."""
        members = self.members()
        if len(members) == 1:
            return self._head.memory_info().rss
        total = 0
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += member.memory_full_info().pss
        return total

"""A small disk for one process: a tmpfs in a mount namespace of its own, or a limit on the size of its files."""

import contextlib
import os
import resource
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

_MEBIBYTE = 1024 * 1024
_SIZE_BYTES = 24 * _MEBIBYTE
_MOUNT = f'mount -t tmpfs -o size={_SIZE_BYTES} tmpfs "$0" && exec "$@"'


class LimitedDisk(ABC):
    """What the process is started with, and how its disk is filled and freed while it runs."""

    wrapper: Sequence[str]

    @abstractmethod
    def fill(self, pid: int) -> None: ...

    @abstractmethod
    def free(self, pid: int) -> None: ...

    @abstractmethod
    def inside(self, pid: int) -> Path:
        """Return the data folder as this process can reach it."""


class TmpfsDisk(LimitedDisk):
    """A real file system that is really full."""

    def __init__(self, data: Path, unshare: Sequence[str]) -> None:
        self._data = data
        data.mkdir()
        self.wrapper = [*unshare, "sh", "-c", _MOUNT, str(data)]

    def fill(self, pid: int) -> None:
        with (self.inside(pid) / "filler").open("wb", buffering=0) as filler:
            for piece in (_MEBIBYTE, 4096, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * piece):
                        pass

    def free(self, pid: int) -> None:
        (self.inside(pid) / "filler").unlink()

    def inside(self, pid: int) -> Path:
        return Path(f"/proc/{pid}/root{self._data}")


class FileSizeDisk(LimitedDisk):
    """Where nothing may be mounted: files that may not grow."""

    wrapper = ()

    def __init__(self, data: Path) -> None:
        self._data = data

    def fill(self, pid: int) -> None:
        largest = max(path.stat().st_size for path in self._data.iterdir())
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, hard))

    def free(self, pid: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    def inside(self, pid: int) -> Path:
        return self._data


def make_limited_disk(data: Path) -> LimitedDisk:
    """Mount when this machine lets us, and else limit the size of files."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    probe = data.with_name("probe")
    probe.mkdir()
    command = [*unshare, "sh", "-c", _MOUNT, str(probe), "true"]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return TmpfsDisk(data, unshare)
    return FileSizeDisk(data)

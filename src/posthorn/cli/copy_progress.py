"""How a copy shows that it goes on: a bar in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from posthorn.cli.texts import _

_LINE_SECONDS = 2.0


class Shown(Protocol):
    """What the copy tells: see `posthorn.storage.copying.copier.Watcher`."""

    def began(self, *, rows_total: int, rows_before: int) -> None:
        """Copying begins."""
        ...

    def copied(self, table: str, rows: int) -> None:
        """More rows are committed."""
        ...

    def verifying(self, *, rows_total: int) -> None:
        """Verifying begins."""
        ...

    def verified(self, table: str, rows: int) -> None:
        """More rows were read again."""
        ...


@contextmanager
def shown_progress(console: Console) -> Iterator[Shown]:
    """Make what shows a copy on this console."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[table]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


class Bars:
    """One bar for copying, one for verifying."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def began(self, *, rows_total: int, rows_before: int) -> None:
        """Begin the first bar where an earlier run left off."""
        self._task = self._progress.add_task(_("Copying"), total=rows_total, completed=rows_before, table="")

    def copied(self, table: str, rows: int) -> None:
        """Move it on."""
        self._advance(table, rows)

    def verifying(self, *, rows_total: int) -> None:
        """Begin the second bar."""
        self._task = self._progress.add_task(_("Verifying"), total=rows_total, table="")

    def verified(self, table: str, rows: int) -> None:
        """Move it on."""
        self._advance(table, rows)

    def _advance(self, table: str, rows: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=rows, table=table)


class Lines:
    """A line every other second, and one where something new begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = 0
        self._total = 0
        self._line_at = 0.0

    def began(self, *, rows_total: int, rows_before: int) -> None:
        """Say how much there is to do."""
        self._done, self._total = rows_before, rows_total
        if rows_before:
            self._print(
                _("Going on with a copy: {done} of {total} rows are there.").format(done=rows_before, total=rows_total)
            )
        else:
            self._print(_("Copying {total} rows.").format(total=rows_total))

    def copied(self, table: str, rows: int) -> None:
        """Say how much is done, if that was not said a moment ago."""
        self._advance(_("Copied {done} of {total} rows (table {table})."), table, rows)

    def verifying(self, *, rows_total: int) -> None:
        """Say so."""
        self._done, self._total = 0, rows_total
        self._print(_("Verifying {total} rows.").format(total=rows_total))

    def verified(self, table: str, rows: int) -> None:
        """Say how much is done, if that was not said a moment ago."""
        self._advance(_("Verified {done} of {total} rows (table {table})."), table, rows)

    def _advance(self, text: str, table: str, rows: int) -> None:
        self._done += rows
        if time.monotonic() - self._line_at >= _LINE_SECONDS:
            self._print(text.format(done=self._done, total=self._total, table=table))

    def _print(self, line: str) -> None:
        self._line_at = time.monotonic()
        self._console.print(line)

"""How an import or export of people shows that it goes on: a bar in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from posthorn.cli.texts import _

_LINE_SECONDS = 2.0
Moved = Callable[[int, int], None]
"""Told how many rows are done, and how much of the total (bytes, or rows) that is."""


@contextmanager
def shown_rows(console: Console, title: str, total: int | None) -> Iterator[Moved]:
    """Show the rows on this console; `total` None when nobody knows how much there is."""
    if not console.is_terminal:
        yield _lines(console, title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, rows="")

        def move(rows: int, done: int) -> None:
            progress.update(task, completed=done, rows=_("{rows} rows").format(rows=rows))

        yield move


def _lines(console: Console, title: str) -> Moved:
    line_at = time.monotonic() + _LINE_SECONDS

    def move(rows: int, done: int) -> None:  # noqa: ARG001 - a line tells rows only
        nonlocal line_at
        if time.monotonic() >= line_at:
            line_at = time.monotonic() + _LINE_SECONDS
            console.print(_("{title}: {rows} rows so far.").format(title=title, rows=rows))

    return move

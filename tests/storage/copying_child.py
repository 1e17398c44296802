"""Copies a store and dies as by kill -9 after so many batches: `copying_child.py SOURCE TARGET BATCHES`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from copying_world import Place, Silent, copy


class Dying(Silent):
    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def copied(self, table: str, rows: int) -> None:
        super().copied(table, rows)
        self._count()

    def verified(self, table: str, rows: int) -> None:
        self.batches.append(table)
        self._count()

    def _count(self) -> None:
        if len(self.batches) == self._most:
            os.kill(os.getpid(), signal.SIGKILL)


def a_place(text: str) -> Place:
    return text if text.startswith("postgresql:") else Path(text)


if __name__ == "__main__":
    asyncio.run(copy(a_place(sys.argv[1]), a_place(sys.argv[2]), Dying(int(sys.argv[3]))))

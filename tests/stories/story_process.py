"""The node of a story as a real process, to be killed as a power cut would."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

_NODE = Path(__file__).with_name("story_node.py")


class StoryProcess:
    """One data folder, and the process that serves it, if any."""

    def __init__(self, data: Path, *, dsn: str | None, ports: Mapping[str, int], ca_file: Path) -> None:
        self._data = data
        self._dsn = dsn
        self._ports = ports
        self._ca_file = ca_file
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        given = {"data": str(self._data), "dsn": self._dsn, "ports": dict(self._ports), "caFile": str(self._ca_file)}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(_NODE), json.dumps(given), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = (await self._process.stdout.readline()).decode().strip()
        assert self.url, "the node did not start; what it wrote to standard error says why"

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None

"""The README's tour, pasted block by block as a stranger would."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from readme_tour import Block, Program, Shell, blocks, eventually, free_ports, missing, prepare


class Tour:
    """Runs the blocks in order. Only the ports differ from what the README says, so that tours may run at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(("8600", "8601", "9000"), map(str, free_ports(3)), strict=True))
        self._environ = {"POSTHORN_PORT": self._ports["8600"], "POSTHORN_INBOX_PORT": self._ports["8601"]}
        self._programs: list[Program] = []
        self._server: Program | None = None
        self._shell: Shell | None = None
        self._tail: Program | None = None
        prepare(folder)

    def go(self) -> None:
        found = blocks()
        for block, shown in zip(found, [*found[1:], None], strict=True):
            if block.language == "sh":
                expected = shown.text if shown is not None and shown.language == "text" else ""
                self._run(block, self._here(expected))
        self._end_tail()
        self._stop_server()

    def close(self) -> None:
        for program in self._programs:
            program.kill()

    def _run(self, block: Block, expected: str) -> None:
        text = self._here(block.text)
        if block.role in ("server", "demo"):
            self._serve(block.role, text, expected)
        elif block.role == "tail":
            self._follow(text)
        else:
            self._paste(text, expected, is_repeatable=block.role == "look")

    def _serve(self, name: str, text: str, expected: str) -> None:
        self._stop_server()
        # The packages are installed: `setup` counts as done, so that no network is asked for.
        command = text.replace("make run", "make -o setup run")
        server = self._start(["bash", "-c", command], name)
        eventually(
            lambda: "Ctrl-C stops the server." in server.output or server.has_ended,
            lambda: f"the server does not become ready:\n{server.output}",
        )
        assert not missing(expected, server.output), server.output
        self._server = server

    def _follow(self, text: str) -> None:
        self._tail = self._start(["bash", "-c", text], "tail")

    def _paste(self, text: str, expected: str, *, is_repeatable: bool) -> None:
        if self._shell is None:
            self._shell = Shell(self._folder, self._environ)
            self._programs.append(self._shell)
        shell = self._shell
        shell.paste(text)
        eventually(
            lambda: not missing(expected, shell.latest),
            lambda: f"after\n{text}\nthe lines {missing(expected, shell.latest)} are not in\n{shell.latest}",
            again=(lambda: shell.paste(text)) if is_repeatable else None,
        )

    def _end_tail(self) -> None:
        assert self._tail is not None, "the README has no block that follows the journal"
        for kind in ("request", "event", "decision", "attempt"):
            assert f" {kind:<8} " in self._tail.output, self._tail.output
        self._tail.interrupt()

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.interrupt()
            assert "server.stopped" in self._server.output, self._server.output

    def _start(self, command: list[str], name: str) -> Program:
        program = Program(command, self._folder, name, self._environ)
        self._programs.append(program)
        return program

    def _here(self, text: str) -> str:
        for written, used in self._ports.items():
            text = text.replace(written, used)
        return text


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    tour = Tour(tmp_path)
    yield tour
    tour.close()


def test_every_block_of_the_readme_tour_does_what_the_readme_shows(tour: Tour) -> None:
    tour.go()


def test_the_tour_runs_with_every_kind_of_block() -> None:
    assert {block.role for block in blocks()} == {"server", "tour", "look", "tail", "demo"}


def test_a_shown_line_that_is_not_printed_is_found_missing() -> None:
    assert missing('{"id":"app_…"}\n\nreceived …\n', '{"id":"app_1"}\nreceives it') == ["received …"]

"""What is wrong with a connector file, where, and how to mend it."""

from typing import Final

from posthorn.errors import Invalid, Problem


class ConnectorInvalid(Invalid):
    """A connector file cannot be used: `message` says why and the way out, at `line` and `column` from 1."""

    code = "connector_invalid"

    def __init__(self, message: str, *, file: str, line: int, column: int) -> None:
        self.message: Final = message
        self.file: Final = file
        self.line: Final = line
        self.column: Final = column
        super().__init__(Problem(loc=(file,), msg=f"line {line}, column {column}: {message}", type=self.code))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"

"""Connectors of one's own: TOML files in a directory that the operator names."""

from pathlib import Path

from posthorn.connectors import ConnectorInvalid, shipped_catalogue, use_catalogue, with_files
from posthorn.errors import StartRefused


def use_connectors(folder: Path | None) -> None:
    """Let this process know the connectors of a directory beside those that ship. Raises StartRefused."""
    if folder is None:
        use_catalogue(None)
        return
    try:
        texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if _is_file(path)}
        use_catalogue(with_files(shipped_catalogue(), texts))
    except ConnectorInvalid as invalid:
        raise StartRefused(f"{folder / str(invalid)}") from None
    except UnicodeDecodeError as error:
        raise StartRefused(f"{folder}: a connector file is not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise StartRefused(
            f"the directory of connectors {folder} cannot be read: {error.strerror}; choose another with --connectors"
        ) from None


def _is_file(path: Path) -> bool:
    return path.suffix == ".toml" and not path.name.startswith(".")

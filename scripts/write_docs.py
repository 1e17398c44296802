"""Writes the pages that are rendered from code: docs/settings.md and docs/telemetry.md."""

from pathlib import Path

from posthorn.settings.reference import settings_reference
from posthorn.telemetry.reference import telemetry_reference

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {"settings.md": settings_reference, "telemetry.md": telemetry_reference}


def main() -> None:
    """Write every page."""
    for name, render in PAGES.items():
        (DOCS / name).write_text(render())
        print(f"docs/{name}")


if __name__ == "__main__":
    main()

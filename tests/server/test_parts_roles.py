"""A node that has only some of the roles."""

from pathlib import Path

import pytest

from posthorn.engine.profiles import profile_of
from posthorn.server.founding import found
from posthorn.server.opening import open_store
from posthorn.server.parts import Parts
from posthorn.settings import Settings
from posthorn.telemetry import Telemetry
from posthorn.testing.factories import a_message, a_unit


@pytest.mark.parametrize(("role", "deciding", "delivering"), [("receive", 0, 0), ("decide", 3, 0), ("deliver", 0, 1)])
async def test_what_comes_in_is_remembered_only_for_the_roles_that_the_node_has(
    tmp_path: Path, role: str, deciding: int, delivering: int
) -> None:
    """Nobody would ever collect it: each event by itself is a line of its own, and memory would grow without end."""
    settings = Settings(data=tmp_path, roles=(role,))
    telemetry = Telemetry(strict=True)
    opened = await open_store(settings, telemetry)
    try:
        founding = await found(opened.store, settings, opened.clock)
        parts = Parts(
            opened=opened, founding=founding, settings=settings, inbox_url="http://a.test", telemetry=telemetry
        )
        for user in ("a", "b", "c"):
            event = a_message(user=user)
            profile = profile_of(parts.directory, event.workspace, event.type, user, event.id)
            await parts.intake.accept(a_unit(event, profile=profile))
        assert (len(parts.to_decide.collect()), len(parts.to_deliver.collect())) == (deciding, delivering)
        await parts.transport.close()
    finally:
        await opened.store.close()

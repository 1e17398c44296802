"""What the ways in with an API key share: who calls, into which workspace, and where their events go."""

from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.following import CatchUp, found, nothing_new
from posthorn.receive.arrivals import Arrivals
from posthorn.receive.http import Scope
from posthorn.receive.intake import Intake
from posthorn.receive.messages import Authenticate


class KeyedIntake:
    """Accepts events by calls that carry an API key."""

    def __init__(
        self,
        *,
        intake: Intake,
        directory: Directory,
        authenticate: Authenticate,
        clock: Clock,
        catch_up: CatchUp = nothing_new,
    ) -> None:
        """Make one; `catch_up` brings the directory up to date before an unknown key is refused."""
        self._arrivals = Arrivals(intake=intake, directory=directory)
        self._authenticate = authenticate
        self._clock = clock
        self._catch_up = catch_up

    async def _workspace_of(self, scope: Scope) -> str:
        """Return the workspace of the key. Raises Unauthenticated."""
        return await found(lambda: self._authenticate(scope), self._catch_up)

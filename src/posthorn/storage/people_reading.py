"""What is read of people, the same over every database: an adapter only has to run questions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.runs import Run, RunPage, RunQuery
from posthorn.storage import people_queries
from posthorn.storage.questions import Questions

Answer = TypeVar("Answer")
Given = ParamSpec("Given")


class PeopleReader(ABC):
    """Implements what the People port reads."""

    @abstractmethod
    async def _answer(
        self, ask: Callable[Given, Questions[Answer]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Run the questions that `ask` makes on one connection; make them anew when it breaks."""

    async def profile(self, key: str) -> Profile | None:
        """One profile, also one that was merged away."""
        return await self._answer(people_queries.one_profile, key)

    async def profiles(self, query: ProfileQuery) -> ProfilePage:
        """Profiles by user id."""
        return await self._answer(people_queries.profiles, query)

    async def run(self, workspace: str, identifier: str) -> Run | None:
        """One run, whole."""
        return await self._answer(people_queries.one_run, workspace, identifier)

    async def runs(self, query: RunQuery) -> RunPage:
        """Runs of an automation or of a profile, newest first."""
        return await self._answer(people_queries.runs, query)

    async def run_counts(self, workspace: str, automation: str) -> dict[str, int]:
        """How many runs of an automation there are, by state."""
        return await self._answer(people_queries.run_counts, workspace, automation)

"""People and runs over PostgreSQL."""

from msgspec.structs import replace

from posthorn.engine.people import ProfilePage, ProfileQuery
from posthorn.engine.runs import RunPage, RunQuery
from posthorn.storage.people_reading import PeopleReader
from posthorn.storage.postgres.journal_texts import place_above, place_below


class PostgresPeople(PeopleReader):
    """Implements what the People port reads."""

    async def profiles(self, query: ProfileQuery) -> ProfilePage:
        """Profiles by user id."""
        if query.after is not None:
            place = place_below(query.after) if query.backwards else place_above(query.after)
            query = replace(query, after=place)
        return await super().profiles(query)

    async def runs(self, query: RunQuery) -> RunPage:
        """Runs of an automation or of a profile, newest first."""
        if query.after is not None:
            place = place_above(query.after) if query.backwards else place_below(query.after)
            query = replace(query, after=place)
        return await super().runs(query)

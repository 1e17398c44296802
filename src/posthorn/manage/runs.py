"""Runs of automations: looking at them, beginning and ending them by events."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from posthorn.engine.directory import Directory
from posthorn.engine.flows import OnCall
from posthorn.engine.listening import call_type, triggers_of
from posthorn.engine.people import EventContext
from posthorn.engine.ports import People as PeopleStore
from posthorn.engine.profiles import user_profile
from posthorn.engine.resources import Automation
from posthorn.engine.runs import Run, RunQuery, RunState
from posthorn.errors import Conflict, Invalid, NotFound
from posthorn.manage.appending import Appender, Once
from posthorn.manage.registrar import PageOf
from posthorn.receive.people import LONGEST_USER

RUN_CANCELLED = "run.cancelled"


class Call(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whom to let into an automation. `data` is what its conditions and templates see as `event.data`.

    The same `id` within 30 days lets nobody in a second time.
    """

    user: Annotated[str, Meta(min_length=1, max_length=LONGEST_USER)]
    data: Raw | UnsetType = UNSET
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class Runs:
    """Finds runs, begins them by a call, and ends them by hand."""

    def __init__(self, store: PeopleStore, directory: Directory, appender: Appender) -> None:
        self._store = store
        self._directory = directory
        self._appender = appender

    async def get(self, workspace: str, identifier: str) -> Run:
        """Return one run, whole; raises NotFound."""
        found = await self._store.run(workspace, identifier)
        if found is None:
            raise NotFound("there is no run with this id")
        return found

    async def list(
        self,
        workspace: str,
        page: PageOf,
        *,
        automation: str | None = None,
        profile: str | None = None,
        state: RunState | None = None,
    ) -> tuple[list[Run], bool]:
        """Return a page of runs of an automation (its id) or a profile, the newest first, and whether none follows."""
        found = await self._store.runs(
            RunQuery(
                workspace=workspace,
                automation=automation,
                profile=profile,
                state=state,
                after=page.after,
                backwards=page.backwards,
                limit=page.limit,
            )
        )
        return list(found.runs), not found.more

    async def counts(self, workspace: str, automation: str) -> dict[str, int]:
        """Return how many runs of an automation (its id) there are in each state."""
        found = await self._store.run_counts(workspace, automation)
        return {state.value: found.get(state.value, 0) for state in RunState}

    def name_of(self, automation: str) -> str | None:
        """Return what an automation is called, None when it is gone."""
        found = self._directory.automation(automation)
        return found.name if found is not None else None

    async def cancel(self, workspace: str, identifier: str) -> str:
        """Append what ends a run, and return the event's id; the run ends once that is decided.

        Raises NotFound, and Conflict when the run has ended already.
        """
        run = await self.get(workspace, identifier)
        if run.state is not RunState.ACTIVE:
            raise Conflict(f"the run has ended already: it is {run.state.value}")
        return await self._appender.append(
            workspace,
            RUN_CANCELLED,
            run.profile,
            msgspec.json.encode({"run": run.id, "automation": run.automation}),
            context=EventContext(cancels=(run.id,)),
        )

    async def call(self, automation: Automation, call: Call) -> str:
        """Append what lets a person into an automation, and return the event's id.

        Raises Conflict when nothing would come of it, or when the call's own id was given before with other content.
        """
        if not any(isinstance(trigger, OnCall) for trigger in triggers_of(automation)):
            raise Conflict("this automation has no trigger of type call, so nobody gets in this way")
        if not automation.enabled:
            raise Conflict("this automation is paused and lets nobody in")
        if "\0" in call.user:
            raise Invalid.at("user", msg="a user id has no U+0000")
        event_type = call_type(automation.id)
        return await self._appender.append(
            automation.workspace,
            event_type,
            user_profile(automation.workspace, call.user),
            bytes(call.data) if isinstance(call.data, Raw) else b"{}",
            once=Once(scope=f"call:{automation.id}", key=call.id) if call.id is not None else None,
        )

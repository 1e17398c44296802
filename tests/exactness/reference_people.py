"""The reference model's people: who is who, what changes in them, and who was merged into whom."""

from typing import Any

from reference_limits import give_back, receive
from reference_records import Counted, Going, Happened, Json, Now, Person, Told

from posthorn.calendars import zone


class People:
    """All people, and nobody."""

    def __init__(self, prefix: str, time_zone: str) -> None:
        self.prefix = prefix  #: of a profile's key, before the user
        self.time_zone = time_zone
        self.people: dict[str, Person] = {}
        self.nobody = Person(user="")  #: all events without a user share what is remembered
        self.runs: list[Going] = []

    def change(self, now: Now, changes: Json) -> None:
        """Change a profile; only sets, sums and time zones happen here."""
        if now.person is self.nobody:
            return
        person, before = now.person, dict(now.person.attributes)
        others = (person.zone, person.subscriptions)
        person.subscriptions = person.subscriptions | changes.get("subscriptions", {})
        person.attributes.update(changes.get("set", {}))
        for name, amount in changes.get("increment", {}).items():
            person.attributes[name] = person.attributes.get(name, 0) + amount
        person.zone = changes.get("timeZone") or person.zone
        now.is_touched |= person.attributes != before or (person.zone, person.subscriptions) != others
        now.changed |= {name for name, value in person.attributes.items() if before.get(name) != value}

    def receive(self, counted: Counted, received_ms: int | None, user: str) -> None:
        """Count a request that was received, or ended without that."""
        receive(self.people[user] if user else self.nobody, counted, received_ms)

    def learn(self, told: Told) -> None:
        """Let runs that a new version ended give back what nobody received."""
        for run in self.runs:
            if run.id in told.ended:
                run.owes = False
                self.give_back(run)

    def is_unreceived(self, run: Going) -> bool:
        """Tell whether a run is over and its person got nothing, where eligibility counts what is received."""
        return run.state != "active" and run.counted is not None and not run.is_sent and not run.is_held_out

    def give_back(self, run: Going) -> None:
        """Let a run that is over give its person's place back when they got nothing."""
        if self.is_unreceived(run):
            give_back(self.people[run.user] if run.user else self.nobody, run.counted)

    def gone_to(self, user: str) -> str | None:
        """Say who somebody is now. Of two that were merged into each other the first by name lives on."""
        person = self.people.get(user)
        if person is None or person.merged_into is None:
            return None
        other = self.people.get(person.merged_into)
        is_circle = other is not None and other.merged_into == user
        return None if is_circle and user < person.merged_into else person.merged_into

    def merge(self, now: Now, into: str, merged_into: str | None) -> bool:
        """End a profile in favour of another one; False when that one is this one already."""
        chain = [into]
        while (following := self.gone_to(chain[-1])) is not None and following not in chain:
            chain.append(following)
        end = merged_into if merged_into in chain else chain[-1]
        if end == now.person.user:
            return False
        now.person.merged_into = end
        now.person.segments = set()
        told = self.told(now.person, "profile.merged", now.at_ms)
        told.user, told.absorbs, told.occurred_ms = end, now.person.user, now.event.occurred_ms
        told.received_ms = now.event.received_ms  # before what came in since then for the other one
        now.outcome.events.append(told)
        return True

    def key_of(self, person: Person) -> str:
        return f"{self.prefix}{person.user}"

    def zone_of(self, person: Person) -> Any:
        return zone(person.zone or self.time_zone)

    def told(self, person: Person, kind: str, at_ms: int) -> Happened:
        return Happened(id="", type=kind, data=None, occurred_ms=at_ms, received_ms=at_ms, user=person.user)

"""The use cases of trying automations, over the store of a world."""

from deciding_world import World

from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.records import Append, AppendResult
from posthorn.manage.appending import Appender
from posthorn.manage.automations import Automations
from posthorn.manage.rehearsals import Rehearsals


def rehearsing(world: World) -> tuple[Automations, Rehearsals]:
    async def accept(unit: Append) -> AppendResult:
        [result] = await world.store.append([unit])
        return result

    appender = Appender(accept, world.clock)
    automations = Automations(world.store, world.directory, world.clock, world.key_ring, AddressPolicy(), appender)
    return automations, Rehearsals(world.store, world.directory, automations, world.clock)

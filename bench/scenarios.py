"""What is measured. Each scenario starts servers of its own on a store of its own and returns figures."""

import contextlib
import time
from dataclasses import dataclass, field, replace

from bench import fill, fill_postgres
from bench.analytics import Analyst
from bench.servers import KEY, Cluster
from bench.stack import Receiver, arrivals, generate
from bench.stores import Database, PostgresStores, SqliteStores
from posthorn.testing.ports import free_port

_ENVELOPE = ('{"eventType":"bench.sent","payload":', "}")
_WARM_SECONDS = 3
_EXISTS = {"field": "event.data.pad", "operator": "exists", "value": True}
_ONCE_EACH = {"type": "once_per_key", "key": "{{ event.data.n }} {{ event.data.t }}"}
_LOOKS = (
    {"count": {"event": "bench.event", "op": "gte", "value": 1}},
    {"performed": {"event": "bench.event", "atLeast": 2, "withinSeconds": 604_800}},
    {"segment": {"is": "in", "segment": "active"}},
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One measurement. `rate` 0 finds the maximum; `share_of` runs at that part of a maximum found before."""

    name: str
    seconds: float = 60
    size: int = 350
    fan_out: int = 1
    endpoints: int = 1
    hanging: int = 0
    dead: int = 0  #: endpoints, after the hanging ones, that refuse connections
    rate: int = 0
    share_of: tuple[str, float] | None = None
    against: str | None = None  #: the scenario whose maximum this one's is compared with
    connections: int = 64
    journal_rows: int = 0
    pending: int = 0
    analytics: bool = False  #: whether a transaction that never ends reads the journal meanwhile
    kind: str = "message"  #: message, inbox, event (with automations) or ceiling
    automations: int = 0
    matching: int = 0
    people: int = 1  #: whose events they are
    remembering: bool = False  #: whether what matches looks at counters, windows and segments, and keeps a key
    nodes: int | None = None  #: how many servers share the store, None: as many as the run has
    tags: tuple[str, ...] = field(default=())  #: long: fills a store first; postgres: only on PostgreSQL

    @property
    def needs(self) -> set[str]:
        """The scenarios that must have run before."""
        return {name for name in (self.share_of and self.share_of[0], self.against) if name}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the measurements of a run have in common."""

    stores: SqliteStores | PostgresStores
    nodes: int = 1
    workers: int = 1


def run(scenario: Scenario, setting: Setting, maxima: dict[str, float]) -> dict:
    """Measure one scenario."""
    rate = scenario.rate
    if scenario.share_of is not None:
        events = maxima[scenario.share_of[0]] / (scenario.matching or 1)  # maxima are deliveries
        rate = max(1, int(events * scenario.share_of[1]))
    with Receiver() as receiver:
        if scenario.kind == "ceiling":
            return _ceiling(scenario, receiver, rate)
        nodes = scenario.nodes or setting.nodes
        with setting.stores.fresh() as database:
            url = database and database.url
            with Cluster(database=url, nodes=nodes, workers=setting.workers) as cluster:
                _fill(scenario, receiver, cluster, database)
                if database is not None:
                    database.checkpoint()
                with Analyst(url) if scenario.analytics else contextlib.nullcontext() as analyst:
                    result = _measure(scenario, receiver, cluster, database, rate)
                    result |= analyst.figures() if analyst is not None else {}
    if scenario.against is not None:
        result |= {"against": scenario.against, "ratio": result["per_second"] / maxima[scenario.against]}
    return {**result, "store": setting.stores.label, "nodes": nodes, "workers": setting.workers}


def _fill(scenario: Scenario, receiver: Receiver, cluster: Cluster, database: Database | None) -> None:
    if not (scenario.journal_rows or scenario.pending):
        return
    # The pending deliveries belong to an endpoint that the measured load does not use.
    cluster.post("/api/v1/app", {"name": "pending", "uid": "pending"})
    other = cluster.post("/api/v1/app/pending/endpoint", {"url": receiver.url + "/other"})["id"]
    cluster.stop()
    amounts = {"journal_rows": scenario.journal_rows, "pending": scenario.pending, "pending_endpoint": other}
    if database is None:
        fill.fill(cluster.folders[0], **amounts)
    else:
        fill_postgres.fill(database.url, **amounts)
    cluster.start()


def _measure(scenario: Scenario, receiver: Receiver, cluster: Cluster, database: Database | None, rate: int) -> dict:
    plan = _plan(scenario, receiver, cluster, rate)
    cluster.catch_up()
    idle_rss = cluster.rss_bytes()
    copies = _copies(scenario)
    generate({**plan, "seconds": _WARM_SECONDS, "rate": min(rate or 500, 500), "paths": plan["warm"]})
    time.sleep(0.5)
    # What the warm-up delivered is not counted: a new receiver would need new endpoints, so it is subtracted.
    warm = receiver.seen
    meter = Meter(cluster, database)
    began = time.monotonic()
    sent = generate(plan)
    silent = (scenario.hanging + scenario.dead, len(plan["paths"])) if scenario.kind == "message" else (0, 1)
    expected = int(sent["accepted"] * copies * (1 - silent[0] / silent[1]))
    receiver.wait_until_quiet(warm + expected, 120)
    took = time.monotonic() - began
    events = max(1, sent["accepted"])
    spent = meter.read(events)
    numbers, times, latencies = receiver.stop()
    fresh = next((i for i, at in enumerate(times) if at >= sent["began_us"]), len(times))
    seen = arrivals(
        numbers[fresh:],
        times[fresh:],
        latencies[fresh:],
        began_us=sent["began_us"],
        copies=copies,
        sent=sent["sent"],
        hanging=silent,
    )
    if scenario.kind == "inbox" or (scenario.kind == "event" and not scenario.matching):
        seen = {"per_second": sent["accepted"] / sent["seconds"], "lost": 0, "duplicated": 0, "arrived": 0,
                "end_to_end_us": sent["publish_us"]}  # fmt: skip
    return {
        "scenario": scenario.name, "asked_rate": rate, "sent": sent["sent"], "accepted": sent["accepted"],
        "refused": sent["refused"], "publish_us": sent["publish_us"], **seen, "took_seconds": took,
        "idle_rss_mb": idle_rss / 1e6, **spent,
        "generator_cpu_seconds": sent["cpu_seconds"], "start_seconds": cluster.start_seconds,
        "sample_refusal": sent["sample_refusal"],
    }  # fmt: skip


class Meter:
    """What the servers and the database spent since it was made."""

    def __init__(self, cluster: Cluster, database: Database | None) -> None:
        self._cluster = cluster
        self._database = database
        # The database is asked for its counters outside of the time in which processor time is counted.
        self._counters = database.counters() if database is not None else {}
        self._store = cluster.store_counts()
        self._database_cpu = database.cpu_seconds() if database is not None else None
        self._cpu = cluster.cpu_seconds()

    def read(self, events: int) -> dict[str, float]:
        """Return figures per event. What cannot be known is left out."""
        figures = {"cpu_us_per_event": (self._cluster.cpu_seconds() - self._cpu) / events * 1e6}
        if self._database_cpu is not None:
            figures["postgres_cpu_us_per_event"] = (self._database.cpu_seconds() - self._database_cpu) / events * 1e6
        figures["rss_mb"] = self._cluster.rss_bytes() / 1e6
        after = self._cluster.store_counts()
        if self._store and after:
            for name in ("commits", "statements"):
                figures[f"{name}_per_event"] = (after[name] - self._store[name]) / events
        if self._database is not None:
            for name, value in self._database.counters().items():
                figures[f"{name}_per_event"] = (value - self._counters[name]) / events
            figures |= self._database.queue()
        return figures


def _copies(scenario: Scenario) -> int:
    return scenario.matching - scenario.hanging if scenario.kind == "event" else scenario.fan_out


def _plan(scenario: Scenario, receiver: Receiver, cluster: Cluster, rate: int) -> dict:
    plan = {
        "size": scenario.size, "key": KEY, "rate": rate, "seconds": scenario.seconds, "host": "127.0.0.1",
        "connections": scenario.connections, "ports": cluster.ports, "before": "", "after": "",
    }  # fmt: skip
    if scenario.kind == "inbox":
        url = cluster.post("/api/v1/source", {"name": "bench", "verification": {"type": "none"}})["url"]
        path = "/in/" + url.rsplit("/in/", 1)[1]
        return {**plan, "ports": cluster.inbox_ports, "paths": [path], "warm": [path], "envelope": 0}
    if scenario.kind == "event":
        return _plan_events(scenario, receiver, cluster, plan)
    before, after = _ENVELOPE
    paths = _applications(scenario, receiver, cluster)
    return {**plan, "paths": paths, "warm": paths, "before": before, "after": after, "envelope": len(before + after)}


def _applications(scenario: Scenario, receiver: Receiver, cluster: Cluster) -> list[str]:
    """Set up applications with `fan_out` endpoints each, until there are as many endpoints as asked for."""
    paths = []
    applications = max(1, scenario.endpoints // scenario.fan_out)
    for number in range(applications):
        uid = f"bench-{number}"
        cluster.post("/api/v1/app", {"name": uid, "uid": uid})
        hangs = number < scenario.hanging
        for copy in range(scenario.fan_out):
            url = f"{receiver.url}/{'hang' if hangs else 'ok'}/{number}/{copy}"
            if scenario.hanging <= number < scenario.hanging + scenario.dead:
                url = f"http://127.0.0.1:{free_port()}/"
            cluster.post(f"/api/v1/app/{uid}/endpoint", {"url": url})
        paths.append(f"/api/v1/app/{uid}/msg?with_content=false")
    return paths


def _plan_events(scenario: Scenario, receiver: Receiver, cluster: Cluster, plan: dict) -> dict:
    if scenario.remembering:
        cluster.post("/api/v1/segment", {"name": "active", "uid": "active", "conditions": _LOOKS[0]})
    for number in range(scenario.automations):
        matches = number < scenario.matching
        answers = "hang" if number < scenario.hanging else "auto"
        cluster.post(
            "/api/v1/automation",
            {
                "name": f"bench {number}",
                "trigger": {"eventType": "bench.event" if matches else f"other.{number}"},
                "conditions": _LOOKS[number % len(_LOOKS)] if scenario.remembering else _EXISTS,
                "eligibility": _ONCE_EACH if scenario.remembering else {"type": "always"},
                "send": {"url": f"{receiver.url}/{answers}/{number}", "body": None},
            },
        )
    before, after = '{"type":"bench.event","user":"u%05d","data":', "}"
    paths = ["/api/v1/event"]
    envelope = len(before % 0 + after)
    return {
        **plan, "people": scenario.people, "paths": paths, "warm": paths,
        "before": before, "after": after, "envelope": envelope,
    }  # fmt: skip


def _ceiling(scenario: Scenario, receiver: Receiver, rate: int) -> dict:
    """Send the generator's load straight into the receiver: what the machine gives without Posthorn in between."""
    plan = {
        "size": scenario.size, "key": KEY, "rate": rate, "seconds": scenario.seconds, "host": "127.0.0.1",
        "connections": scenario.connections, "ports": [receiver.port], "before": "", "after": "", "paths": ["/ceiling"],
        "envelope": 0,
    }  # fmt: skip
    sent = generate(plan)
    receiver.wait_until_quiet(sent["accepted"], 30)
    seen = arrivals(*receiver.stop(), began_us=sent["began_us"], copies=1, sent=sent["sent"])
    return {"scenario": scenario.name, "asked_rate": rate, "sent": sent["sent"], "accepted": sent["accepted"],
            "refused": sent["refused"], "publish_us": sent["publish_us"], **seen}  # fmt: skip


def standard(seconds: float, setting: Setting) -> list[Scenario]:
    """The measurements of docs/benchmarks.md that fit the setting, each `seconds` long."""
    return [
        scenario
        for scenario in _every(seconds)
        if ("postgres" not in scenario.tags or setting.stores.is_postgres)
        # Where the run has that many nodes anyway, it would measure the same again.
        and (scenario.nodes is None or scenario.nodes > setting.nodes)
    ]


def wanted(scenarios: list[Scenario], only: list[str], *, long: bool) -> list[Scenario]:
    """Choose by parts of names, or all that are not long; what the chosen ones need comes with them."""
    chosen = [s for s in scenarios if (any(part in s.name for part in only) if only else long or "long" not in s.tags)]
    names = {s.name for s in chosen}
    while more := {name for s in scenarios if s.name in names for name in s.needs} - names:
        names |= more
    return [s for s in scenarios if s.name in names]


def _every(seconds: float) -> list[Scenario]:
    s = seconds
    part = min(s, 20)
    analytics = Scenario(
        name=f"a {10 * s / 60:.3g}-minute analytics query beside it",
        seconds=10 * s,
        journal_rows=10_000_000,
        analytics=True,
        against="deliveries",
        tags=("long", "postgres"),
    )
    # At the maximum the analyst's own processor time is missing elsewhere; below it, only what it does to others shows.
    calmer = replace(
        analytics, name=f"{analytics.name}, at 0.4 of the maximum", share_of=("deliveries", 0.4), against=None
    )
    many = Scenario(name="1,000 endpoints", seconds=part, endpoints=1000)
    return [
        Scenario(name="ceiling", kind="ceiling", seconds=part),
        Scenario(name="deliveries", seconds=s),
        Scenario(name="deliveries, half rate", seconds=s, share_of=("deliveries", 0.5)),
        Scenario(name="two nodes", seconds=s, nodes=2, against="deliveries", tags=("postgres",)),
        Scenario(name="isolation: none hanging", seconds=s, endpoints=100, share_of=("deliveries", 0.4)),
        Scenario(name="isolation: 20 % hanging", seconds=s, endpoints=100, hanging=20, share_of=("deliveries", 0.4)),
        Scenario(name="inbox capture", seconds=s, kind="inbox"),
        Scenario(name="1 M pending", seconds=s, pending=1_000_000, against="deliveries", tags=("long",)),
        Scenario(name="10 M journal rows", seconds=s, journal_rows=10_000_000, against="deliveries", tags=("long",)),
        analytics,
        calmer,
        Scenario(name="one dead endpoint of 100", seconds=part, endpoints=100, dead=1, share_of=("deliveries", 0.4)),
        Scenario(name="deliveries, again", seconds=part),
        Scenario(name="7 KB payload", seconds=part, size=7 * 1024),
        Scenario(name="fan-out 10", seconds=part, fan_out=10, endpoints=10),
        many,
        replace(many, name="two nodes, 1,000 endpoints", nodes=2, against=many.name, tags=("long", "postgres")),
        Scenario(name="10,000 endpoints", seconds=part, endpoints=10_000, tags=("long",)),
        *_events(part),
        Scenario(name="events, 1,000 automations, none match", seconds=part, kind="event", automations=1000),
        Scenario(name="ceiling, again", kind="ceiling", seconds=part),
    ]


def _events(seconds: float) -> list[Scenario]:
    """What decisions cost: by what they look at, how late they are, beside hosts that hang and a full journal."""
    plain = Scenario(
        name="events, 100 automations, 3 match", seconds=seconds, kind="event", automations=100, matching=3
    )
    ten = replace(plain, name="events, 100 automations, 10 match", matching=10, people=1000, share_of=(plain.name, 0.4))
    beside = replace(plain, people=1000, against=f"{plain.name}, of 1,000 people", tags=("long",))
    return [
        plain,
        replace(plain, name=f"{plain.name}, half rate", share_of=(plain.name, 0.5)),
        replace(plain, name=f"{plain.name}, of 1,000 people", people=1000),
        replace(plain, name=f"{plain.name}, of 1,000 people, and remember", people=1000, remembering=True),
        ten,
        replace(ten, name=f"{ten.name}, 2 hosts hang", hanging=2),
        replace(beside, name=f"{plain.name}, 1 M pending", pending=1_000_000),
        replace(beside, name=f"{plain.name}, 10 M journal rows", journal_rows=10_000_000),
    ]

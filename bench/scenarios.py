"""What is measured. Each scenario starts its own server on its own folder and returns figures."""

import time
from dataclasses import dataclass, field

from bench.fill import fill
from bench.stack import KEY, Receiver, Server, arrivals, free_port, generate

_ENVELOPE = ('{"eventType":"bench.sent","payload":', "}")
_WARM_SECONDS = 3


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One measurement. `rate` 0 finds the maximum; `share` runs at that part of a maximum found before."""

    name: str
    seconds: float = 60
    size: int = 350
    fan_out: int = 1
    endpoints: int = 1
    hanging: int = 0
    dead: int = 0  #: endpoints, after the hanging ones, that refuse connections
    rate: int = 0
    share_of: tuple[str, float] | None = None
    connections: int = 64
    journal_rows: int = 0
    pending: int = 0
    kind: str = "message"  #: message, inbox, event (with automations) or ceiling
    automations: int = 0
    matching: int = 0
    tags: tuple[str, ...] = field(default=())


def run(scenario: Scenario, maxima: dict[str, float]) -> dict:
    """Measure one scenario."""
    rate = scenario.rate
    if scenario.share_of is not None:
        rate = max(1, int(maxima[scenario.share_of[0]] * scenario.share_of[1]))
    receiver = Receiver()
    if scenario.kind == "ceiling":
        return _ceiling(scenario, receiver, rate)
    server = Server()
    if scenario.journal_rows or scenario.pending:
        # The pending deliveries belong to an endpoint that the measured load does not use.
        server.post("/api/v1/app", {"name": "pending", "uid": "pending"})
        other = server.post("/api/v1/app/pending/endpoint", {"url": receiver.url + "/other"})
        server.stop(keep=True)
        fill(server.data, journal_rows=scenario.journal_rows, pending=scenario.pending, pending_endpoint=other["id"])
        server = Server(server.data)
    try:
        return _measure(scenario, receiver, server, rate)
    finally:
        server.stop()


def _measure(scenario: Scenario, receiver: Receiver, server: Server, rate: int) -> dict:
    plan = _plan(scenario, receiver, server, rate)
    idle_rss = server.rss_bytes()
    copies = _copies(scenario)
    generate({**plan, "seconds": _WARM_SECONDS, "rate": min(rate or 500, 500), "paths": plan["warm"]})
    time.sleep(0.5)
    # What the warm-up delivered is not counted: a new receiver would need new endpoints, so it is subtracted.
    warm = receiver.seen
    cpu, counts, began = server.cpu_seconds(), server.store_counts(), time.monotonic()
    sent = generate(plan)
    answering = 1 - (scenario.hanging + scenario.dead) / len(plan["paths"])
    expected = int(sent["accepted"] * copies * answering)
    receiver.wait_until_quiet(warm + expected, 120)
    took = time.monotonic() - began
    cpu = server.cpu_seconds() - cpu
    after = server.store_counts()
    rss = server.rss_bytes()
    numbers, times, latencies = receiver.stop()
    fresh = next((i for i, at in enumerate(times) if at >= sent["began_us"]), len(times))
    seen = arrivals(
        numbers[fresh:],
        times[fresh:],
        latencies[fresh:],
        began_us=sent["began_us"],
        copies=copies,
        sent=sent["sent"],
        hanging=(scenario.hanging + scenario.dead, len(plan["paths"])),
    )
    events = max(1, sent["accepted"])
    if scenario.kind == "inbox" or (scenario.kind == "event" and not scenario.matching):
        seen = {"per_second": sent["accepted"] / sent["seconds"], "lost": 0, "duplicated": 0, "arrived": 0,
                "end_to_end_us": sent["publish_us"]}  # fmt: skip
    return {
        "scenario": scenario.name, "asked_rate": rate, "sent": sent["sent"], "accepted": sent["accepted"],
        "refused": sent["refused"], "publish_us": sent["publish_us"], **seen, "took_seconds": took,
        "cpu_us_per_event": cpu / events * 1e6, "idle_rss_mb": idle_rss / 1e6, "rss_mb": rss / 1e6,
        "commits_per_event": (after["commits"] - counts["commits"]) / events,
        "statements_per_event": (after["statements"] - counts["statements"]) / events,
        "generator_cpu_seconds": sent["cpu_seconds"], "start_seconds": server.start_seconds,
        "sample_refusal": sent["sample_refusal"],
    }  # fmt: skip


def _copies(scenario: Scenario) -> int:
    return scenario.matching if scenario.kind == "event" else scenario.fan_out


def _plan(scenario: Scenario, receiver: Receiver, server: Server, rate: int) -> dict:
    plan = {
        "size": scenario.size, "key": KEY, "rate": rate, "seconds": scenario.seconds, "host": "127.0.0.1",
        "connections": scenario.connections, "port": server.port, "before": "", "after": "",
    }  # fmt: skip
    if scenario.kind == "inbox":
        url = server.post("/api/v1/source", {"name": "bench", "verification": {"type": "none"}})["url"]
        path = "/in/" + url.rsplit("/in/", 1)[1]
        return {**plan, "port": server.inbox_port, "paths": [path], "warm": [path], "envelope": 0}
    if scenario.kind == "event":
        return _plan_events(scenario, receiver, server, plan)
    before, after = _ENVELOPE
    paths = _applications(scenario, receiver, server)
    return {**plan, "paths": paths, "warm": paths, "before": before, "after": after, "envelope": len(before + after)}


def _applications(scenario: Scenario, receiver: Receiver, server: Server) -> list[str]:
    """Set up applications with `fan_out` endpoints each, until there are as many endpoints as asked for."""
    paths = []
    applications = max(1, scenario.endpoints // scenario.fan_out)
    for number in range(applications):
        uid = f"bench-{number}"
        server.post("/api/v1/app", {"name": uid, "uid": uid})
        hangs = number < scenario.hanging
        for copy in range(scenario.fan_out):
            url = f"{receiver.url}/{'hang' if hangs else 'ok'}/{number}/{copy}"
            if scenario.hanging <= number < scenario.hanging + scenario.dead:
                url = f"http://127.0.0.1:{free_port()}/"
            server.post(f"/api/v1/app/{uid}/endpoint", {"url": url})
        paths.append(f"/api/v1/app/{uid}/msg?with_content=false")
    return paths


def _plan_events(scenario: Scenario, receiver: Receiver, server: Server, plan: dict) -> dict:
    for number in range(scenario.automations):
        matches = number < scenario.matching
        server.post(
            "/api/v1/automation",
            {
                "name": f"bench {number}",
                "trigger": {"eventType": "bench.event" if matches else f"other.{number}"},
                "conditions": {"field": "event.data.pad", "operator": "exists", "value": True},
                "eligibility": {"type": "always"},
                "send": {"url": f"{receiver.url}/auto/{number}", "body": None},
            },
        )
    before, after = '{"type":"bench.event","user":"u1","data":', "}"
    paths = ["/api/v1/event"]
    return {**plan, "paths": paths, "warm": paths, "before": before, "after": after, "envelope": len(before + after)}


def _ceiling(scenario: Scenario, receiver: Receiver, rate: int) -> dict:
    """Send the generator's load straight into the receiver: what the machine gives without Posthorn in between."""
    plan = {
        "size": scenario.size, "key": KEY, "rate": rate, "seconds": scenario.seconds, "host": "127.0.0.1",
        "connections": scenario.connections, "port": receiver.port, "before": "", "after": "", "paths": ["/ceiling"],
        "envelope": 0,
    }  # fmt: skip
    sent = generate(plan)
    receiver.wait_until_quiet(sent["accepted"], 30)
    seen = arrivals(*receiver.stop(), began_us=sent["began_us"], copies=1, sent=sent["sent"])
    return {"scenario": scenario.name, "asked_rate": rate, "sent": sent["sent"], "accepted": sent["accepted"],
            "refused": sent["refused"], "publish_us": sent["publish_us"], **seen}  # fmt: skip


def standard(seconds: float) -> list[Scenario]:
    """The measurements of docs/benchmarks.md, each `seconds` long."""
    s = seconds
    part = min(s, 20)
    return [
        Scenario(name="ceiling", kind="ceiling", seconds=part),
        Scenario(name="deliveries", seconds=s),
        Scenario(name="deliveries, half rate", seconds=s, share_of=("deliveries", 0.5)),
        Scenario(name="isolation: none hanging", seconds=s, endpoints=100, share_of=("deliveries", 0.4)),
        Scenario(name="isolation: 20 % hanging", seconds=s, endpoints=100, hanging=20, share_of=("deliveries", 0.4)),
        Scenario(name="inbox capture", seconds=s, kind="inbox"),
        Scenario(name="1 M pending", seconds=s, pending=1_000_000, tags=("long",)),
        Scenario(name="10 M journal rows", seconds=s, journal_rows=10_000_000, tags=("long",)),
        Scenario(name="one dead endpoint of 100", seconds=part, endpoints=100, dead=1, share_of=("deliveries", 0.4)),
        Scenario(name="deliveries, again", seconds=part),
        Scenario(name="7 KB payload", seconds=part, size=7 * 1024),
        Scenario(name="fan-out 10", seconds=part, fan_out=10, endpoints=10),
        Scenario(name="1,000 endpoints", seconds=part, endpoints=1000),
        Scenario(name="10,000 endpoints", seconds=part, endpoints=10_000, tags=("long",)),
        Scenario(name="events, 100 automations, 3 match", seconds=part, kind="event", automations=100, matching=3),
        Scenario(name="events, 1,000 automations, none match", seconds=part, kind="event", automations=1000),
        Scenario(name="ceiling, again", kind="ceiling", seconds=part),
    ]

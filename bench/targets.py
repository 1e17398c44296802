"""How figures stand against the numbers of the design, which hold for one node on two cores."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """One number to hold: what is required, what is aimed at, what was measured (None: it was not)."""

    name: str
    required: float
    goal: float
    measured: float | None
    unit: str
    is_ceiling: bool = False  #: whether less is better

    @property
    def verdict(self) -> str:
        """Say in words which of the two is met."""
        if self.measured is None:
            return "not measured"
        if self._meets(self.goal):
            return "goal met"
        return "required met, goal missed" if self._meets(self.required) else "REQUIRED MISSED"

    def _meets(self, bound: float) -> bool:
        return self.measured <= bound if self.is_ceiling else self.measured >= bound


def targets(results: list[dict]) -> list[Target]:
    """Put the results beside the numbers for their store."""
    by_name = {result["scenario"]: result for result in results}
    on_postgres = any("PostgreSQL" in result.get("store", "") for result in results)
    required, goal = (3_000, 8_000) if on_postgres else (5_000, 10_000)

    def figure(scenario: str, *keys: str) -> float | None:
        value = by_name.get(scenario)
        for key in keys:
            value = (value or {}).get(key)
        return value

    def memory(scenario: str, key: str) -> float | None:
        used = figure(scenario, key)
        return None if used is None else used / figure(scenario, "nodes")

    late = figure("deliveries, half rate", "end_to_end_us", "p99")
    return [
        Target(name="durable signed deliveries", required=required, goal=goal,
               measured=figure("deliveries", "per_second"), unit="/s"),
        Target(name="end-to-end p99 at half of the maximum rate", required=100, goal=30, is_ceiling=True,
               measured=None if late is None else late / 1000, unit=" ms"),
        Target(name="healthy endpoints' p99 with 20 % of endpoints hanging, more", required=20, goal=5,
               measured=_isolation(figure), unit=" %", is_ceiling=True),
        Target(name="throughput with 10 M journal rows", required=90, goal=98,
               measured=_percent(figure("10 M journal rows", "ratio")), unit=" %"),
        Target(name="throughput with 1 M pending", required=90, goal=98,
               measured=_percent(figure("1 M pending", "ratio")), unit=" %"),
        Target(name="memory of a node, idle", required=150, goal=80, is_ceiling=True,
               measured=memory("deliveries", "idle_rss_mb"), unit=" MB"),
        Target(name="memory of a node with 1 M pending", required=300, goal=200, is_ceiling=True,
               measured=memory("1 M pending", "rss_mb"), unit=" MB"),
        Target(name="inbox capture", required=8_000, goal=15_000,
               measured=figure("inbox capture", "per_second"), unit="/s"),
    ]  # fmt: skip


def _isolation(figure) -> float | None:
    """Return by how many percent hanging endpoints worsen the p99 of the others."""
    alone = figure("isolation: none hanging", "end_to_end_us", "p99")
    beside = figure("isolation: 20 % hanging", "end_to_end_us", "p99")
    return (beside / alone - 1) * 100 if alone and beside is not None else None


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else ratio * 100


def standing(results: list[dict]) -> str:
    """Write the comparison as a Markdown table. Empty when nothing was measured that has a number."""
    rows = targets(results)
    if all(row.measured is None for row in rows):
        return ""
    lines = ["| number of the design | required | goal | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        measured = "–" if row.measured is None else f"{_short(row.measured)}{row.unit}"
        sign = "≤" if row.is_ceiling else "≥"
        bounds = f"{sign} {row.required:,}{row.unit} | {sign} {row.goal:,}{row.unit}"
        lines.append(f"| {row.name} | {bounds} | {measured} | {row.verdict} |")
    return "\n".join([*lines, *_caveats(results)])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _caveats(results: list[dict]) -> list[str]:
    """Say where the setting is not the one that the numbers are for."""
    processes = [(r["nodes"], r["workers"]) for r in results if r["scenario"] == "deliveries"]
    if all(each == (1, 1) for each in processes):
        return []
    nodes, workers = processes[0]
    return ["", f"The numbers are for one node of one process. Here: nodes {nodes}, processes in each {workers}."]

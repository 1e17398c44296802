"""Results as JSON, as a table, as a picture."""

import json
from pathlib import Path

from bench.targets import standing


def report(results: list[dict], remarks: tuple[str, ...] = ()) -> str:
    """Write everything that a run found out as Markdown: the setting, the table, ratios, the design's numbers."""
    parts = [_heading(results, remarks), table(results), _comparisons(results), standing(results)]
    return "\n\n".join(part for part in parts if part)


def _heading(results: list[dict], remarks: tuple[str, ...]) -> str:
    settings = {(r["store"], r["workers"]) for r in results if "store" in r}
    lines = [f"Store: {store}; {_count(workers, 'process')} in a node." for store, workers in sorted(settings)]
    return "\n".join([*lines, *(f"Note: {remark}." for remark in remarks)])


def _count(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def table(results: list[dict]) -> str:
    """Write the results as a Markdown table; the ratio is to the mean of the ceilings of the same run."""
    ceilings = [r["per_second"] for r in results if r["scenario"].startswith("ceiling")]
    ceiling = sum(ceilings) / len(ceilings) if ceilings else None
    on_postgres = any("wal_bytes_per_event" in r for r in results)
    head = "| scenario | nodes | per second | of ceiling | end to end p50 / p95 / p99 ms | publish p99 ms | lost | duplicated "
    if on_postgres:
        head += "| CPU µs per event: Posthorn | PostgreSQL | statements per event | commits per event | WAL bytes per event "
    else:
        head += "| CPU µs per event | statements per event "
    head += "| RSS MB |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for r in results:
        late, publish = r.get("end_to_end_us") or {}, r.get("publish_us") or {}
        cells = [
            r["scenario"], r.get("nodes", "–"), f"{r['per_second']:,.0f}",
            f"{r['per_second'] / ceiling:.2f}" if ceiling else "–",
            f"{_ms(late, 'p50')} / {_ms(late, 'p95')} / {_ms(late, 'p99')}", _ms(publish, "p99"), r["lost"],
            r["duplicated"], _number(r, "cpu_us_per_event"),
        ]  # fmt: skip
        if on_postgres:
            cells.append(_number(r, "postgres_cpu_us_per_event"))
        cells.append(_number(r, "statements_per_event", digits=2))
        if on_postgres:
            cells += [_number(r, "commits_per_event", digits=3), _number(r, "wal_bytes_per_event")]
        lines.append("| " + " | ".join(map(str, [*cells, _number(r, "rss_mb")])) + " |")
    return "\n".join(lines)


def _ms(values: dict, key: str) -> str:
    return f"{values[key] / 1000:.1f}" if key in values else "–"


def _number(result: dict, key: str, *, digits: int = 0) -> str:
    return f"{result[key]:,.{digits}f}" if key in result else "–"


def _comparisons(results: list[dict]) -> str:
    """Say what became of a maximum under other circumstances, and whether it sank while it was measured."""
    lines = []
    for r in results:
        if "ratio" not in r:
            continue
        line = f'- {r["scenario"]}: {r["ratio"]:.2f} of "{r["against"]}"'
        if "analytics_rounds" in r:
            line += (
                f"; {r['first_fifth_per_second']:,.0f}/s in the first fifth of the time and "
                f"{r['last_fifth_per_second']:,.0f}/s in the last; the query was at work for "
                f"{r['analytics_busy_seconds']:.0f} s, {r['analytics_rounds']} times to its end, in one transaction; "
                f"{r['queue_dead_rows']:,} dead rows in the queue at the end, which took {r['queue_bytes'] / 1e6:.0f} MB"
            )
        lines.append(line)
    return "\n".join(lines)


def write(results: list[dict], folder: Path, remarks: tuple[str, ...] = ()) -> None:
    """Write results.json, results.md and results.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    (folder / "results.md").write_text(report(results, remarks) + "\n")
    _plot(results, folder / "results.png")


def _plot(results: list[dict], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    measured = [r for r in results if not r["scenario"].startswith("ceiling")]
    names = [r["scenario"] for r in measured]
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 0.5 * len(names) + 2), sharey=True)
    left.barh(names, [r["per_second"] for r in measured], color="#2b6cb0")
    left.set_xlabel("per second (delivered; inbox: captured)")
    left.invert_yaxis()
    for key, shade in (("p99", "#c3dafe"), ("p95", "#7f9cf5"), ("p50", "#434190")):
        right.barh(names, [(r["end_to_end_us"] or {}).get(key, 0) / 1000 for r in measured], color=shade, label=key)
    right.set_xscale("symlog", linthresh=10)
    right.set_xlabel("end to end, ms")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)

"""Results as JSON, as a table, as a picture."""

import json
from pathlib import Path


def table(results: list[dict]) -> str:
    """Write the results as a Markdown table; the ratio is to the mean of the ceilings of the same run."""
    ceilings = [r["per_second"] for r in results if r["scenario"].startswith("ceiling")]
    ceiling = sum(ceilings) / len(ceilings) if ceilings else None
    lines = [
        "| scenario | per second | of ceiling | end to end p50 / p95 / p99 ms | publish p99 ms | lost | duplicated "
        "| CPU µs per event | statements per event | RSS MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        late, publish = r.get("end_to_end_us") or {}, r.get("publish_us") or {}
        ms = lambda values, key: f"{values[key] / 1000:.1f}" if key in values else "–"  # noqa: E731
        ratio = f"{r['per_second'] / ceiling:.2f}" if ceiling else "–"
        lines.append(
            f"| {r['scenario']} | {r['per_second']:,.0f} | {ratio} | {ms(late, 'p50')} / {ms(late, 'p95')} / "
            f"{ms(late, 'p99')} | {ms(publish, 'p99')} | {r['lost']} | {r['duplicated']} "
            f"| {r.get('cpu_us_per_event', 0):.0f} | {r.get('statements_per_event', 0):.2f} | {r.get('rss_mb', 0):.0f} |"
        )
    return "\n".join(lines)


def write(results: list[dict], folder: Path) -> None:
    """Write results.json, results.md and results.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    (folder / "results.md").write_text(table(results) + "\n")
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

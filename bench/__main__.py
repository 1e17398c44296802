"""`python -m bench`: measure, print the table, keep JSON and picture."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from bench.report import report, write
from bench.scenarios import Scenario, Setting, run, standard, wanted
from bench.stores import PostgresStores, SqliteStores


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends with us
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
        os.environ["BENCH_DIR"] = str(options.dir)
    stores = PostgresStores(options.database) if options.database else SqliteStores()
    try:
        setting = Setting(stores=stores, nodes=options.nodes, workers=options.workers)
        chosen = wanted(standard(options.seconds, setting), options.only, long=options.long)
        print(report(_measure_all(chosen, setting, options.out), stores.remarks))
    finally:
        stores.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each measurement (default 60)")
    parser.add_argument("--only", action="append", default=[], help="names (or parts of names) of scenarios to run")
    parser.add_argument("--long", action="store_true", help="also those that fill a big store first")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of the results")
    parser.add_argument("--dir", type=Path, help="where the data folders are made (default: the system's)")
    parser.add_argument(
        "--database",
        default="",
        help="`embedded` (a PostgreSQL 18 of this run's own) or a postgresql:// address, on which each scenario makes "
        "a database and drops it afterwards (default: SQLite)",
    )
    parser.add_argument("--nodes", type=_positive, default=1, help="how many servers share the database (default 1)")
    parser.add_argument("--workers", type=_positive, default=1, help="how many processes each server has (default 1)")
    options = parser.parse_args()
    if options.nodes > 1 and not options.database:
        parser.error("several nodes need --database: a data folder belongs to one")
    if options.database not in ("", "embedded") and not options.database.startswith(("postgresql://", "postgres://")):
        parser.error("--database is `embedded` or postgresql://user:password@host:5432/name")
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _measure_all(scenarios: list[Scenario], setting: Setting, out: Path) -> list[dict]:
    results: list[dict] = []
    maxima: dict[str, float] = {}
    for scenario in scenarios:
        began = time.monotonic()
        result = run(scenario, setting, maxima)
        maxima[scenario.name] = result["per_second"]
        results.append(result)
        write(results, out, setting.stores.remarks)
        print(
            f"{scenario.name}: {result['per_second']:,.0f}/s, lost {result['lost']}, "
            f"duplicated {result['duplicated']} ({time.monotonic() - began:.0f} s)",
            file=sys.stderr,
        )
    return results


if __name__ == "__main__":
    main()

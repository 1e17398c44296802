"""`python -m bench`: measure, print the table, keep JSON and picture."""

import argparse
import os
import sys
import time
from pathlib import Path

from bench.report import table, write
from bench.scenarios import run, standard


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each measurement (default 60)")
    parser.add_argument("--only", action="append", default=[], help="names (or parts of names) of scenarios to run")
    parser.add_argument("--long", action="store_true", help="also those that fill a big store first")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of the results")
    parser.add_argument("--dir", type=Path, help="where the data folders are made (default: the system's)")
    options = parser.parse_args()
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
        os.environ["BENCH_DIR"] = str(options.dir)
    results: list[dict] = []
    maxima: dict[str, float] = {}
    for scenario in standard(options.seconds):
        wanted = not options.only or any(part in scenario.name for part in options.only)
        needed = any(s.share_of and s.share_of[0] == scenario.name for s in standard(1)) and options.only
        if not (wanted or needed) or ("long" in scenario.tags and not (options.long or options.only)):
            continue
        began = time.monotonic()
        result = run(scenario, maxima)
        maxima[scenario.name] = result["per_second"]
        results.append(result)
        write(results, options.out)
        print(
            f"{scenario.name}: {result['per_second']:,.0f}/s, lost {result['lost']}, "
            f"duplicated {result['duplicated']} ({time.monotonic() - began:.0f} s)",
            file=sys.stderr,
        )
    print(table(results))


if __name__ == "__main__":
    main()

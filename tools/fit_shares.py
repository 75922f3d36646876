"""Print which share of their country's fleet published runs were, known by the end of 2024: `python tools/fit_shares.py`.

`--backtest` prints what the scenario of that day said of what came since, `--bridge` the regression of models released by then and of all.
"""

from __future__ import annotations

import sys
from datetime import date

from cutline.outlook.hindcast import KNOWN, backtest, index_bridge, shares


def main() -> None:
    """Print the shares, the backtest or the regression."""
    if "--bridge" in sys.argv[1:]:
        for until in (KNOWN, date.max):
            print(until, {k: [round(x, 1) for x in fit] for k, fit in index_bridge(until).items()})
        return
    if "--backtest" in sys.argv[1:]:
        found = backtest()
        for row in found["rows"]:
            value = "not published" if row["came"] is None else f"{row['came']:.3g}"
            print(
                f"{row['what']:20s} {row['bridge']:12s} {row['day']}  {value:>14s}  {row['low']:9.3g} {row['high']:9.3g}  {row['inside']}"
            )
        print(found["inside"])
        return
    for s in shares():
        print(
            f"{s.country} {s.model:24s} {s.day}  {s.flop:8.2g} FLOP  {100 * s.p50:5.2f} % ({100 * s.p10:.2f} to {100 * s.p90:.2f})"
        )


if __name__ == "__main__":
    main()

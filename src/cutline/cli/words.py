"""Numbers and names as a reader wants them: three digits that mean something, a unit, nothing else."""

from __future__ import annotations

from typing import Any

from cutline import __version__, data_version

PARTS = {
    "compute": "compute",
    "host": "kernel launch",
    "tp": "tensor-parallel links",
    "cp": "context-parallel links",
    "ep": "expert exchange",
    "fsdp": "parameter gathers",
    "bubble": "bubble",
    "p2p": "stage-to-stage",
    "dp": "gradient reduction",
    "optimizer": "optimizer",
    "overhead": "stragglers, logging",
}
"""Parts of a step as the screen names them."""
SHORT = PARTS | {
    "host": "launch",
    "tp": "tensor-parallel",
    "cp": "context-parallel",
    "dp": "gradients",
    "overhead": "step overhead",
}
"""The same where many stand in one line."""
PUBLISHED = {
    "days": "{} days",
    "tokens_per_s_per_chip": "{} tokens/s/chip",
    "chip_hours": "{} chip-hours",
    "mfu": "MFU {} %",
    "tflops_per_chip": "{} TFLOP/s/chip",
    "step_time_s": "{} s per step",
}
"""Metrics of published runs, the first ones preferred."""
LEAST = {"time": "", "cost": "least cost: ", "energy": "least energy: "}
"""What a plan has the least of, by objective; that of time goes without saying."""


def version() -> str:
    """Return the line that every answer ends with: code and data."""
    return f"cutline {__version__}, facts of {data_version}"


def digits(x: float, n: int = 3) -> str:
    """Write a number with `n` digits that mean something, thousands apart, never in powers of ten.

    Examples
    --------
    >>> digits(18.506), digits(441.8), digits(1430729.4), digits(0.00377), digits(0), digits(120)
    ('18.5', '442', '1,430,729', '0.00377', '0', '120')
    """
    if x == 0:
        return "0"
    size = abs(float(f"{x:.{n}g}"))
    if size >= 10 ** (n - 1):
        return f"{x:,.0f}"
    places = n - 1
    while size >= 10:
        size, places = size / 10, places - 1
    while size < 1 and places < 12:
        size, places = size * 10, places + 1
    return f"{x:.{places}f}"


def large(x: float) -> str:
    """Write an amount with M, B or T where that is shorter.

    Examples
    --------
    >>> large(909626), large(65.29e9), large(1.4e12), large(8400)
    ('0.91 M', '65.3 B', '1.40 T', '8,400')
    """
    for factor, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if x >= factor:
            return f"{digits(x / factor)} {letter}"
    return f"{x / 1e6:.2f} M" if x >= 1e5 else f"{x:,.0f}"


def exact(x: float) -> str:
    """Write a data-sheet number with at most four digits that mean something, and no zeros for show.

    Examples
    --------
    >>> exact(51.2), exact(1228.8), exact(14400.0), exact(8.0)
    ('51.2', '1,229', '14,400', '8')
    """
    return f"{float(f'{x:.4g}'):,.10g}"


def plain(x: float) -> str:
    """Write a count as a person types it.

    Examples
    --------
    >>> plain(1.4e12), plain(4e6), plain(2048)
    ('1.4T', '4M', '2,048')
    """
    for factor, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if x >= factor:
            return f"{x / factor:.4g}{letter}"
    return f"{x:,.0f}"


def published(row: dict[str, Any]) -> str:
    """Write the value of a published run with its unit; say where flop are those of the hardware.

    Examples
    --------
    >>> published({"metric": "mfu", "value": 0.41, "note": ""})
    'MFU 41 %'
    """
    share = row["metric"] == "mfu"
    said = PUBLISHED[row["metric"]].format(f"{100 * row['value']:.3g}" if share else f"{row['value']:,.10g}")
    note = row["note"].casefold()
    hardware = row["metric"] == "tflops_per_chip" and ("hardware flop" in note or "recompute counted" in note)
    return said + (" (hardware flop)" if hardware else "")


def counted(n: int, one: str, many: str = "") -> str:
    """Write a number with its noun.

    Examples
    --------
    >>> counted(1, "guess", "guesses"), counted(2048, "sequence")
    ('1 guess', '2,048 sequences')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def energy(joules: float | None) -> str:
    """Write an energy in kWh, MWh or GWh; say why where it is not known."""
    if joules is None:
        return "energy not known: no power of this part"
    kwh = joules / 3.6e6
    for factor, unit in ((1e7, "GWh"), (1e3, "MWh")):
        if kwh >= factor:
            return f"{digits(kwh / (1e6 if unit == 'GWh' else 1e3))} {unit}"
    return f"{digits(kwh)} kWh"


def percent(share: float, places: int = 0) -> str:
    """Write a share as percent."""
    return f"{100 * share:.{places}f} %"


def gibibytes(x: float) -> str:
    """Write bytes in GiB (2^30, the size in which DRAM comes), whole from 10 up.

    Examples
    --------
    >>> gibibytes(75156615987.2), gibibytes(2.5 * 2**30)
    ('70', '2.5')
    """
    x /= 2**30
    return f"{x:,.0f}" if x >= 9.95 else f"{x:.1f}"


def split(strategy: dict[str, Any]) -> str:
    """Write how chips are shared out: `tp 8  pp 4  dp 64`, or `fsdp  dp 2048`."""
    axes = [f"{axis} {strategy[axis]}" for axis in ("tp", "cp", "ep", "pp") if strategy[axis] > 1]
    kind = ["fsdp"] if strategy["zero"] == 3 else []
    return "  ".join([*kind, *axes, f"dp {strategy['dp']}"])


def strategy_in_full(strategy: dict[str, Any]) -> str:
    """Write every setting of a strategy in one sentence."""
    s = strategy
    said = [split(s).replace("  ", ", ")]
    if s["pp"] > 1:
        ends = {s["layers_first"], s["layers_middle"], s["layers_last"]}
        if len(ends) == 1 or (s["pp"] == 2 and s["layers_first"] == s["layers_last"]):
            layers = f"{counted(s['layers_first'], 'layer')} per stage"
        else:
            each = f"{s['layers_first']}, {s['layers_middle']} and {s['layers_last']}"
            layers = f"{each} layers on first, middle and last stage"
        chunks = f" in {s['vpp']} chunks" if s["vpp"] > 1 else "" if s["schedule"] == "1F1B" else f", {s['schedule']}"
        said.append(layers + chunks)
    if s["cp"] > 1:
        said.append(f"context by {s['cp_kind']}")
    if s["etp"] > 1:
        said.append(f"experts split over {s['etp']}")
    if s["ep_hidden"]:
        said.append("exchanges beside another micro-batch")
    said.append(f"micro-batch {s['micro_batch']} ({s['micro_batches']} per step)")
    sharded = f" over {s['shard']}" if s["zero"] and s["shard"] != s["dp"] * s["cp"] else ""
    said.append(f"ZeRO {s['zero']}{sharded}")
    if s["tp"] > 1:
        said.append("sequence parallel" if s["sequence_parallel"] else "no sequence parallel")
    recompute = s["recompute"]
    said.append(f"recompute {recompute}" + (" per stage" if " of " in recompute and s["pp"] > 1 else ""))
    said += [word for switch, word in (("offload", "optimizer on the host"), ("graphs", "launch graphs")) if s[switch]]
    return ", ".join(said)


def limits(parts: dict[str, float], most: int = 3, floor: float = 0.01) -> str:
    """Write the largest parts of a step other than compute, as shares of the step."""
    step = sum(parts.values())
    others = sorted(((v / step, k) for k, v in parts.items() if k != "compute"), reverse=True)
    said = [f"{SHORT[k]} {percent(share)}" for share, k in others[:most] if share >= floor]
    return ", ".join(said) or "compute alone"

"""Tables and the picture of docs/rules.md."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import numpy as np

from cutline.facts import law
from cutline.law.limits import Items
from cutline.law.measures import chip
from cutline.law.screen import every_part, screen
from cutline.law.verdict import rule

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "tests" / "golden" / "law_published.csv"
SHOWN = {
    # part -> where its name stands beside the mark
    "A100-SXM-80GB": "right", "A800-SXM-80GB": "", "H100-SXM-80GB": "left", "H800-SXM-80GB": "", "H20": "below", "L20": "left",
    "L2": "left", "L4": "above", "L40": "below", "L40S": "above", "A30": "below", "A40": "above", "A10": "above", "RTX-4090": "left",
    "RTX-4090D": "left", "RTX-5090D": "left", "B200-SXM": "below", "B300-SXM": "above", "MI250X": "below", "MI325X": "above",
    "V100-SXM2-32GB": "below", "Ascend-910B2": "right", "Ascend-910C": "below", "MI100": "below",     "T4": "below", "RTX-5080": "left", "BR100": "below", "WSE-2": "below",
}  # fmt: skip


def published_table() -> str:
    """Return how many published statements are reproduced, and those that are not with the reason."""
    with PUBLISHED.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    status = [r for r in rows if r["kind"] != "tpp"]
    values = [r for r in rows if r["kind"] == "tpp"]
    said = [
        f"{len(rows) - sum(bool(r['why_not']) for r in rows)} of {len(rows)} published statements are reproduced: "
        f"{sum(not r['why_not'] for r in status)} of {len(status)} on the status of a part on a day, and "
        f"{sum(not r['why_not'] for r in values)} of {len(values)} TPP values within 1 %. The others:", "",
        "| part | day | published | source | why it is not what Cutline says |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for r in rows:
        if r["why_not"]:
            what = f"TPP {r['says']}" if r["kind"] == "tpp" else r["status"]
            said.append(f"| {r['chip']} | {r['on'] or '-'} | {what} | {r['source'].split(' (')[0]} | {r['why_not']} |")
    return "\n".join(said)


def parameters_table() -> str:
    """Return every parametric test with its days, its limits and its act."""
    said = ["| test | from | until | asks | act | confidence |", "|---|---|---|---|---|---|"]
    book = law.law()
    for test in book.tables["test"]:
        act = book.instrument(test)
        asks = ", ".join(f"`{b}`" for b in test.asks)
        flag = {None: "", True: "data centre, ", False: "not data centre, "}[test.datacenter]
        layer = f" ({test.layer} layer)" if test.layer else ""
        said.append(
            f"| {test.id}{layer} | {test.start} | {test.until or ''} | {flag}{asks} | {act.cited} | {test.confidence or act.confidence} |"
        )
    return "\n".join(said)


def read_table() -> str:
    """Return how the acts were read, by kind."""
    acts = list(law.law().instruments.values())
    said = ["| kind | acts | " + " | ".join(law.READ) + " |", "|---|---|" + "---|" * len(law.READ)]
    for kind in sorted({a.kind for a in acts}):
        mine = [a for a in acts if a.kind == kind]
        said.append(
            f"| {kind} | {len(mine)} | " + " | ".join(str(sum(a.read == r for a in mine)) for r in law.READ) + " |"
        )
    return "\n".join(said)


def open_table() -> str:
    """Return which parts cannot be judged for China on one day, and what is missing."""
    on = date(2026, 6, 1)
    found: dict[str, list[str]] = {}
    parts = every_part()
    for part in parts:
        if rule(part, "CN", on=on)["licence_required"] is None:
            names = {
                "tpp": "peak rate",
                "area_mm2": "die area",
                "memory_gb_per_s": "memory rate",
                "io_gb_per_s": "links",
            }
            missing = [w for k, w in names.items() if not part.measures[k].exact]
            missing += ["marketing"] if part.datacenter is None else []
            missing += ["bit length of TF32"] if part.measures["tpp"].open else []
            found.setdefault(", ".join(missing) or "nothing, but a guess decides", []).append(part.name)
    said = [
        f"For China on {on}, {sum(map(len, found.values()))} of {len(parts)} parts are open. A fact that would settle one is welcome "
        "([docs/data.md](data.md) says how to add it):", "", "| not known | parts |", "|---|---|",
    ]  # fmt: skip
    return "\n".join([*said, *(f"| {what} | {', '.join(names)} |" for what, names in sorted(found.items()))])


def picture() -> None:
    """Draw the lines of 2023 over TPP and performance density, with parts of the catalogue."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "cutline"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9.5, 6.2), layout="constrained")
    tpp, density = np.meshgrid(np.geomspace(800, 2.5e5, 700), np.geomspace(1, 60, 500))
    flat = Items(
        tpp.ravel(), (tpp / density).ravel(), np.full(tpp.size, 64.0), np.full(tpp.size, 100.0), np.full(tpp.size, True)
    )
    found = screen(flat, "CN", on=date(2024, 6, 1)).meets.reshape(tpp.shape)
    shade = np.select([found == "3A090.a", found == "3A090.b"], [2.0, 1.0], 0.0)
    axes.contourf(tpp, density, shade, levels=[-0.5, 0.5, 1.5, 2.5], colors=["#e6f2e6", "#fdf0d0", "#f6dcdc"])
    for name, place in SHOWN.items():
        part = chip(name)
        area = float(part.measures["area_mm2"].low)
        x, y = float(part.measures["tpp"].low), float(part.measures["tpp"].low) / area
        axes.plot(
            x,
            y,
            "o" if part.datacenter else "s",
            color="black",
            markersize=5,
            markerfacecolor="black" if part.datacenter else "white",
        )
        offset, align = {
            "right": ((7, -3), "left"),
            "left": ((-7, -3), "right"),
            "above": ((0, 7), "center"),
            "below": ((0, -13), "center"),
        }.get(place, (None, ""))
        if offset is not None:
            label = {"A100-SXM-80GB": "A100, A800", "H100-SXM-80GB": "H100, H800"}.get(
                name, name.removesuffix("-SXM").removesuffix("-SXM2-32GB")
            )
            axes.annotate(label, (x, y), xytext=offset, textcoords="offset points", ha=align, fontsize=8)
    for area in (100, 814, 3000):
        xs = np.array([800, 2.5e5])
        axes.plot(xs, xs / area, color="grey", linewidth=0.7, linestyle=":")
        axes.annotate(
            f"{area} mm²", (1.03 * area, 1.03) if area > 800 else (850, 8.7), fontsize=7, color="grey", rotation=35
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(800, 2.5e5)
    axes.set_ylim(1, 60)
    axes.set_xticks([1600, 2400, 4800, 21000, 100000], ["1,600", "2,400", "4,800", "21,000", "100,000"])
    axes.set_yticks([1.6, 3.2, 5.92, 20], ["1.6", "3.2", "5.92", "20"])
    axes.minorticks_off()
    axes.set_xlabel("total processing performance (TPP)")
    axes.set_ylabel("performance density (TPP per mm²)")
    axes.text(1e5, 1.15, "3A090.a", fontsize=11, ha="center")
    axes.text(3400, 1.9, "3A090.b", fontsize=11, ha="center")
    axes.text(1130, 1.15, "free", fontsize=11, ha="center")
    axes.set_title(
        "The lines since 2023-11-17 for parts of data centres (dots); other parts (squares) are caught from TPP 4,800 alone",
        fontsize=9,
    )
    figure.savefig(ROOT / "docs" / "lines.svg", metadata={"Date": None})


TABLES = {
    "open-parts": open_table,
    "published-rules": published_table,
    "rule-parameters": parameters_table,
    "rule-acts": read_table,
}

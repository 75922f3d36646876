"""Lays out the answer of `design`: the best chip below the line, each line since 2022, and why the chip looks as it does."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words
from cutline.cli.show_rules import asked, number, warnings

Answer = dict[str, Any]


def design(answer: Answer) -> None:
    """Print the answer of `cutline design`."""
    best, most = answer["best"], answer["without_line"]
    doing = f"{answer['for']} {answer['model']}" + (
        f" on {answer['chips']:,} chips" if answer["for"] == "train" else f" at {answer['context']:,.0f} tokens"
    )
    screen.line()
    if best is None:
        screen.line(f"No chip to {doing}, {asked(answer)}: {answer['why'][0]}.", "bold", hang=2)
        warnings(answer)
        screen.line(words.version(), "dim")
        return
    screen.line(f"Best chip to {doing} that needs no licence {asked(answer)}:", "bold", hang=2)
    screen.items("", [f"TPP {number(best['tpp'])} ({number(round(best['fp16_tflop_per_s'], 1))} TFLOP/s fp16)", f"{number(round(best['area_mm2']))} mm2 or more",
        f"memory {number(round(best['memory_gb_per_s']))} GB/s", f"link {number(round(best['link_gb_per_s']))} GB/s one way"], style="bold")  # fmt: skip
    screen.line(
        f"{number(round(best['tokens_per_s_per_chip']))} tokens/s/chip, {words.percent(best['share'])} of the same package without any line"
    )
    screen.line()
    rows = [["no line", *_cells(most), ""]]
    for row in answer["lines"]:
        rows.append(
            [row["from"], *(_cells(row["best"]) if row["best"] else ["nothing"] * 7), ", ".join(_short(row["tests"]))]
        )
    for row in answer["compare"]:
        rows.append([row["chip"], *_cells(row), "as sold"])
    head = ["line from", "TPP", "mm2", "PD", "mem GB/s", "link", "tok/s", "share", "limits"]
    screen.columns(head, rows, right=range(1, 8))
    screen.line()
    screen.line("why: " + "; ".join(answer["why"]), hang=5)
    said = ", ".join(
        f"{row['what']} {number(round(row['value'], 2))} ({', '.join(row['sources']) or row['says']})"
        for row in answer["limits"]
    )
    screen.line("limits: " + said, hang=8)
    screen.line("mm2: the smallest die area with which the peak stays below the line. link: one way.")
    warnings(answer)
    screen.line(words.version(), "dim")


def _cells(d: Answer) -> list[str]:
    area = "-" if d["area_mm2"] is None else number(round(d["area_mm2"]))
    density = "-" if d["pd"] is None else f"{d['pd']:.2f}"
    return [number(round(d["tpp"])), area, density, number(round(d["memory_gb_per_s"])), number(round(d["link_gb_per_s"])),
            number(round(d["tokens_per_s_per_chip"])), words.percent(d["share"])]  # fmt: skip


def _short(tests: list[str]) -> list[str]:
    """Return the paragraphs behind a line, those of one kind once."""
    return list(
        dict.fromkeys(
            t.rsplit(".", 1)[0] if t.startswith("3A090.") and t.count(".") == 2 else " ".join(t.split()[:2])
            for t in tests
        )
    )

"""What does the limit cost? One published run, the same job on the chips that the limits leave, and when those could be sold.

make demo
"""

from __future__ import annotations

import subprocess
import sys

NAMES = {
    "presumption of denial": "licence, denial",
    "not published": "licence, by letter",
    "case-by-case": "licence, case by case",
}
MODEL, TOKENS = "llama-65b", "1.4T"


def cutline(*words: str) -> None:
    """Show a command and what it prints."""
    print("$ cutline " + " ".join(f'"{w}"' if " " in w else w for w in words), flush=True)
    subprocess.run([sys.executable, "-m", "cutline", *words], check=True)


def main() -> None:
    """Plan LLaMA-65B on 2,048 A100, beside what its makers published; then on A800 and H20, and compare."""
    from cutline.facts.models import model
    from cutline.plan import run

    cutline("plan", MODEL, "--on", "2048 x A100-SXM-80GB", "--tokens", TOKENS)
    print("\nThe same job on as many of the chips made for China:\n")
    print(f"  {'chips':26s}{'days':>8s}{'90 %':>18s}{'MFU':>7s}{'MWh':>8s}   best plan")
    base = None
    for chip in ("A100-SXM-80GB", "A800-SXM-80GB", "H20"):
        answer = run.plan(run.job(model(MODEL), f"2048 x {chip}", 1.4e12))
        best = answer["best"]
        base = base or best["days"]
        s = best["strategy"]
        print(
            f"  2048 x {chip:19s}{best['days']:8.1f}{best['days_low']:10.1f} to {best['days_high']:.1f}"
            f"{100 * best['mfu']:6.0f} %{best['energy_j'] / 3.6e9:7.0f}   tp {s['tp']}  pp {s['pp']}  dp {s['dp']}"
            f"   {100 * (best['days'] / base - 1):+.0f} % days"
        )
    print(
        "\n  The A800 keeps the A100's compute and loses a third of its link: a good plan hides nearly all of that."
        "\n  The H20 keeps link and memory and loses half of the compute: no plan can hide that."
    )
    allowed()


def allowed() -> None:
    """Show whether the same parts could go to China, before and after each rule."""
    from datetime import date

    from cutline.law.measures import chip
    from cutline.law.verdict import rule

    days = ("2022-11-01", "2023-12-01", "2025-05-01", "2026-06-01")
    print("\nMay they go to China? (`cutline rule` says why; not legal advice)\n")
    print(f"  {'chip':20s}" + "".join(f"{d:>24s}" for d in days))
    for name in ("A100-SXM-80GB", "A800-SXM-80GB", "H20"):
        answers = [rule(chip(name), "CN", on=date.fromisoformat(d)) for d in days]
        said = [a["policy"] if a["licence_required"] else "free" for a in answers]
        print(f"  {name:20s}" + "".join(f"{NAMES.get(s, s):>24s}" for s in said))


if __name__ == "__main__":
    main()

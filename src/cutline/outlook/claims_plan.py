"""Claims on chips, prices, runs and models, answered by facts, plans and serving."""

from __future__ import annotations

from datetime import date
from typing import Any

from cutline.facts.chips import chip
from cutline.facts.models import model
from cutline.outlook.claims import STATES, Finding, active, claim, free, price

Answer = dict[str, Any]


def used(*answers: Answer) -> list[str]:
    """Return the sources of the facts that answers used, guesses left out."""
    return sorted({s["source"] for a in answers for s in a["sources"]} - {"guess"})


def tokens(name: str) -> float | None:
    """Return the training tokens of a model, None where they are not published."""
    from cutline.facts import reader

    found = reader.table("models").best(model(name).name, "tokens")
    return None if found is None else float(found.value)


def planned(name: str, on: str, tokens: float, **options: Any) -> Answer:
    """Return the answer of the planner for a model on a fleet."""
    from cutline.plan import run

    return run.plan(run.job(model(name), on, tokens=tokens, **options), 1)


@claim(
    "llama-21-days", "2023-03", "Meta's largest Llama took about 21 days on 2,048 A100 for 1.4 trillion tokens", "21 days",
    'cutline plan llama-65b --on "2048 x A100-SXM-80GB" --tokens 1.4T',
    unit="days",
)  # fmt: skip
def _llama() -> Finding:
    answer = planned("llama-65b", "2048 x A100-SXM-80GB", 1.4e12)
    best = answer["best"]
    right = best["days_low"] <= 21.0 <= best["days_high"]
    why = (
        f"the best plan takes {best['days']:.1f} days, and 21 lie {'inside' if right else 'outside'} its 90 % interval"
    )
    return Finding(
        "supported" if right else "not supported",
        why,
        best["days"],
        best["days_low"],
        best["days_high"],
        used(answer),
    )


@claim("h100-price", "2023-12", "an H100 costs about 30,000 USD", "30,000 USD", "cutline chip H100", unit="USD")
def _h100_price() -> Finding:
    known = price("H100-SXM-80GB") + price("H100-PCIe-80GB")
    values = [v for v, _ in known]
    if not values:
        return Finding("cannot be checked", "no purchase price of an H100 is in the catalogue")
    low, high = min(values), max(values)
    middle = sorted(values)[len(values) // 2]
    right = low <= 30000 <= high or abs(middle / 30000 - 1) < 0.2
    why = f"{len(values)} dated claims from {low:,.0f} to {high:,.0f} USD, the middle one {middle:,.0f}"
    return Finding("supported" if right else "not supported", why, middle, low, high, [s for _, s in known])


@claim(
    "ascend-910b", "2024-06", "Ascend 910B beats A100, by up to 20 % in some tests", "+20 %",
    'cutline plan llama-65b --on "2048 x A100-SXM-80GB" --compare Ascend-910B1,Ascend-910B2,Ascend-910B3',
    unit="%",
)  # fmt: skip
def _ascend() -> Finding:
    parts = ("A100-SXM-80GB", "Ascend-910B1", "Ascend-910B2", "Ascend-910B3")
    answers = {part: planned("llama-65b", f"512 x {part}", 1e12) for part in parts}
    base = answers[parts[0]]["best"]["step_s"]
    gains = {part: base / answers[part]["best"]["step_s"] - 1.0 for part in parts[1:]}
    peak = chip("Ascend-910B1").peak_flop_per_s("bf16") / chip("A100-SXM-80GB").peak_flop_per_s("bf16") - 1.0
    top = max(gains.values())
    verdict = "supported" if top >= 0.15 else "in part" if peak >= 0.15 else "not supported"
    why = (
        "training llama-65b on 512 chips each: "
        + ", ".join(f"{p} {100 * g:+.0f} %" for p, g in gains.items())
        + f"; by peak the 910B1 has {100 * peak:+.0f} %"
    )
    return Finding(verdict, why, top, min(gains.values()), top, used(*answers.values()))


@claim(
    "hunyuan-h20",
    "2024-11",
    "Hunyuan-Large, trained on H20, beats the largest Llama 3.1 in several benchmarks",
    "several benchmarks",
    "cutline model hunyuan-large",
)
def _hunyuan() -> Finding:
    ratio = active("hunyuan-large") / active("llama-3.1-405b")
    why = (
        f"no independent score of Hunyuan-Large is in the fit of 2026-08-11, and the maker's abstract says comparable to the 405B, better than the 70B; each token uses {ratio:.2f} of the "
        "405B's parameters; that it was trained on H20 is the maker's own word"
    )
    return Finding("cannot be checked", why, sources=["hunyuan-large"])


@claim(
    "deepseek-a100", "2025-01", "10,000 A100 bought before the rule were enough to build leading models", "10,000 A100",
    'cutline plan deepseek-v3 --on "9984 x A100-SXM-80GB"',
    unit="days",
)  # fmt: skip
def _deepseek_a100() -> Finding:
    answer = planned("deepseek-v3", "8192 x A100-SXM-80GB", 14.8e12)
    best = answer["best"]
    days = best["days"] * 8192 / 10000
    why = f"8,192 A100 train DeepSeek-V3's 14.8T tokens in {best['days']:.0f} days in bf16 (its makers: 2.79 M H800-hours, 57 days on 2,048); 10,000 would take about {days:.0f}; one final run, not the experiments before it"
    return Finding(
        "supported" if days < 120 else "not supported",
        why,
        days,
        best["days_low"] * 8192 / 10000,
        best["days_high"] * 8192 / 10000,
        used(answer),
    )


@claim(
    "quantity", "2025-01", "export controls act mainly on the quantity of compute, so they bite more as training runs grow", "a direction",
    'cutline plan llama-3-70b --on "1024 x H20" --compare H100-SXM-80GB',
    unit="times the time",
)  # fmt: skip
def _quantity() -> Finding:
    ratios, answers = [], []
    for name, count in (("llama-3-8b", 256), ("llama-3-70b", 1024), ("llama-3.1-405b", 8192)):
        both = [planned(name, f"{count} x {p}", 1e12) for p in ("H20", "H100-SXM-80GB")]
        ratios.append(both[0]["best"]["step_s"] / both[1]["best"]["step_s"])
        answers += both
    spread = max(ratios) / min(ratios)
    why = (
        "the free part takes " + ", ".join(f"{r:.1f}" for r in ratios) + " times as long as an H100 for runs of 8, 70 and 405 billion parameters: " + ("about the same factor at every size, so that more chips make up for it at any size, and more are lacking for a larger run; that runs will grow is not tested" if spread < 1.5 else "a factor that depends on the size")
    )  # fmt: skip
    return Finding(
        "in part" if spread < 1.5 else "not supported", why, ratios[-1], min(ratios), max(ratios), used(*answers)
    )


@claim(
    "low-precision", "2024-08", "low-precision training cuts the time and energy of a run", "less of both",
    'cutline plan llama-3-70b --on "1024 x H800-SXM-80GB" --precision fp8',
    unit="% less time",
)  # fmt: skip
def _low_precision() -> Finding:
    answers = [planned("llama-3-70b", "1024 x H800-SXM-80GB", 15e12, precision=p) for p in ("bf16", "fp8")]
    wide, narrow = (a["best"] for a in answers)
    have = [p for p in ("A100-SXM-80GB", "Ascend-910B1") if ("peak", "fp8-dense") in chip(p).facts]
    time, energy = 1 - narrow["days"] / wide["days"], 1 - narrow["energy_j"] / wide["energy_j"]
    why = f"llama-3-70b on 1,024 H800: FP8 takes {100 * time:.0f} % less time and {100 * energy:.0f} % less energy than bf16; of A100 and 910B {', '.join(have) or 'none'} has FP8 products"
    return Finding("supported" if min(time, energy) > 0.05 else "not supported", why, time, sources=used(*answers))


@claim(
    "mixed-chips", "2024-08", "firms study how to combine chips of several kinds, so as not to depend on one product", "worth it",
    'cutline plan llama-65b --on "512 x A800 + 512 x H20"',
    unit="% faster",
)  # fmt: skip
def _mixed() -> Finding:
    from cutline.plan import mixed, mixed_run
    from cutline.plan.fleet import fleet

    answer = mixed_run.plan(mixed.mixed(model("llama-65b"), fleet("512 x A800 + 512 x H20")))
    alone = min(a["step_s"] for a in answer["alone"] if a["step_s"])
    gain = alone / answer["best"]["step_s"] - 1.0
    why = f"llama-65b on 512 A800 and 512 H20 together runs {100 * gain:.0f} % faster than on the better half alone, and {100 * (answer['even']['step_s'] / answer['best']['step_s'] - 1):.0f} % faster than with equal shares; whether firms study it is told by their papers (FlagScale, Sailor)"
    return Finding("supported" if gain > 0.1 else "not supported", why, gain, sources=used(answer))


@claim(
    "small-models", "2024-08", "smaller, specialised models need less data and compute and serve real-time use", "less compute",
    "cutline serve qwen3-8b --on \"1 x H20\" --objective speed",
    unit="% of the operations",
)  # fmt: skip
def _small() -> Finding:
    from cutline.plan.fleet import fleet
    from cutline.serve import ask, run

    speeds, answers = {}, []
    for name, on in (("qwen3-8b", "1 x H20"), ("qwen3-235b-a22b", "8 x H20")):
        q = ask.question(model(name), fleet(on), input_tokens=512, output_tokens=128, objective="speed")
        answers.append(run.serve(q))
        speeds[name] = answers[-1]["best"]["tokens_per_s_per_user"]
    flop = active("qwen3-8b") / active("qwen3-235b-a22b")
    data = [tokens(name) for name in ("qwen3-8b", "qwen3-235b-a22b")]
    right = [flop < 0.5, speeds["qwen3-8b"] >= 20.0, None not in data and (data[0] or 0.0) < (data[1] or 0.0)]
    why = (
        f"a token of qwen3-8b takes {100 * flop:.0f} % of the operations of qwen3-235b-a22b's; one H20 writes {speeds['qwen3-8b']:.0f} tokens/s for a user with it, eight write {speeds['qwen3-235b-a22b']:.0f} with the large one; "
        f"the data was {'less' if right[2] else 'not less' if None not in data else 'not published'}"
    )  # fmt: skip
    return Finding(
        "supported" if all(right) else "in part" if any(right) else "not supported", why, flop, sources=used(*answers)
    )


@claim(
    "edge",
    "2024-08",
    "models that run on phones and laptops do not need the strongest chips",
    "no data-centre chip",
    'cutline run qwen2.5-7b --on "Snapdragon 8 Elite" --quant q4_0',
    unit="tokens/s",
)
def _edge() -> Finding:
    from cutline.serve import local_run

    phone = local_run.run(model("qwen2.5-7b"), "Snapdragon 8 Elite", "q4_0", 4096, unit="npu")
    laptop = local_run.run(model("qwen2.5-7b"), "M3 Pro 18GB", "q4_k_m", 4096)
    law = [free(chip(part).name, date(2024, 8, 1)) for part in ("Snapdragon 8 Elite", "M3 Pro")]
    why = f"a model of 7 billion parameters writes {phone['decode_tokens_per_s']:.0f} tokens/s on a phone's NPU and {laptop['decode_tokens_per_s']:.0f} on a laptop, in four bits; on 2024-08-01 the phone's part to China {STATES[law[0]]}, the laptop's {STATES[law[1]]}"
    right = phone["fits"] and phone["decode_tokens_per_s"] > 5 and False not in law
    return Finding(
        "supported" if right else "not supported",
        why,
        phone["decode_tokens_per_s"],
        phone["decode_low"],
        phone["decode_high"],
        used(phone, laptop),
    )


@claim(
    "gpt2-gpt4",
    "2025-01",
    "GPT-4 took about 10,000 times the training compute of GPT-2",
    "10,000 times",
    "cutline gap china us --yardstick compute",
    unit="times",
)
def _gpt() -> Finding:
    from cutline.facts.supply import run_named
    from cutline.outlook.entries import DOUBT

    small, large = run_named("GPT-2 (1.5B)"), run_named("GPT-4")
    if not small.flop or not large.flop:
        return Finding("cannot be checked", "one of the two has no published compute in the table of runs")
    ratio = large.flop / small.flop
    doubt = max(DOUBT.get(r.confidence, 30.0) for r in (small, large))
    right = 0.5 <= ratio / 10000 <= 2.0
    why = f"{large.flop:.2g} over {small.flop:.2g} FLOP; GPT-2's figure is marked {small.confidence.lower()}, GPT-4's {large.confidence.lower()}"
    return Finding(
        "supported" if right else "not supported",
        why,
        ratio,
        ratio / doubt,
        ratio * doubt,
        [small.source, large.source],
    )


@claim(
    "deepseek-v3",
    "2024-12",
    "DeepSeek-V3 reached the top of the open models with surprisingly little compute",
    "little compute",
    "cutline gap china us-open --on 2025-01-09",
    unit="times less",
)
def _deepseek() -> Finding:
    from cutline.outlook.compute import training_flop
    from cutline.outlook.gap import gap
    from cutline.outlook.sample import NEWEST, Ask

    small, large = training_flop("DeepSeek-V3"), training_flop("Llama 3.1-405B")
    assert small.published_flop and large.published_flop
    ratios = [large.published_flop / small.published_flop]
    ratios += [
        a / b for a, b in ((large.six_nd_flop, small.six_nd_flop), (large.shape_flop, small.shape_flop)) if a and b
    ]
    best = gap(Ask("open", "closed", vintage=NEWEST, on="2025-01-09", rules=()))["groups"][1]["best"]
    top = best["model"].startswith("DeepSeek-V3")
    why = (
        f"the best open model on 2025-01-09 by the vintage {NEWEST} is {best['model']}; Llama-3.1-405B took {min(ratios):.1f} to {max(ratios):.1f} times its training compute by three readings; "
        f"its own readings differ by a factor of {small.disagreement:.1f}; the makers' figure is of the final run alone"
    )  # fmt: skip
    verdict = "supported" if top and min(ratios) > 5 else "in part" if min(ratios) > 5 else "not supported"
    return Finding(verdict, why, ratios[0], min(ratios), max(ratios), ["deepseek-v3-paper", "epoch-notable"])


@claim(
    "h100-china-share",
    "2023-12",
    "four Chinese buyers were to take 125,000 H100, 20 % of the units shipped in 2023 (so about 625,000 in all)",
    "20 %",
    "cutline supply --country CN --on 2023-12-31",
    unit="%",
)
def _share() -> Finding:
    from cutline.facts.supply import flows

    rows = [f for f in flows() if f.kind == "sale" and f.start.year == 2023 == f.end.year]
    china = [f for f in rows if f.country == "CN" and f.chip.startswith("H800") and f.use]
    world = [f for f in rows if f.country == "WW" and f.chip.startswith("H100")]
    if not china or not world:
        return Finding("cannot be checked", "no table of shipments by buyer of 2023 is in the catalogue")
    units, low, high = (sum(getattr(f, k) for f in china) for k in ("units", "low", "high"))
    whole = sum(f.units for f in world)
    share, ends = units / (units + whole), (low / (low + whole), high / (high + whole))
    why = (
        f"{units:,.0f} H800 ({low:,.0f} to {high:,.0f}) went to China in 2023 and {whole:,.0f} H100 were sold in the world; on 2023-03-01 an H100 to China {STATES[free('H100-SXM-80GB', date(2023, 3, 1))]}; "
        f"the claim's 125,000 would be {100 * 125000 / (125000 + whole):.0f} % of all"
    )  # fmt: skip
    near = [low <= 125000 <= high, ends[0] <= 0.2 <= ends[1]]
    verdict = "supported" if all(near) else "in part" if any(near) else "not supported"
    return Finding(verdict, why, share, *ends, sorted({f.source for f in (*china, *world)}))


@claim(
    "smuggling",
    "2024-12",
    "shell companies and smuggling bring in restricted chips",
    "some",
    "cutline supply --country CN --on 2024-12-31",
    unit="chips",
)
def _smuggling() -> Finding:
    from cutline.facts.supply import flows

    rows = [f for f in flows() if f.kind == "smuggled" and f.country == "CN" and f.start.year == 2024 and f.use]
    if not rows:
        return Finding("cannot be checked", "no estimate of smuggled chips is in the catalogue")
    middle, low, high = (sum(getattr(f, k) for f in rows) for k in ("units", "low", "high"))
    why = f"published estimates for 2024 lie between {low:,.0f} and {high:,.0f} chips; court filings name shell companies; nobody has counted"
    verdict = "supported" if low >= 1000 else "in part" if high >= 1000 else "not supported"
    return Finding(verdict, why, middle, low, high, sorted({f.source for f in rows}))

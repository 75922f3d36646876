"""Rows of servers: how the replica lies on its chips, how many requests are in flight, how long they are."""

from __future__ import annotations

import re

from cutline.facts.reader import evidences
from cutline.serve.express import FLOOD, Ask, Skip, number

WAVES = {"gpustack": 1.0}
"""Requests over concurrency where a source says (floods send all at once)."""
MTP_ACCEPTED = 0.85
"""Share of the second token that a prediction layer gets right (DeepSeek-V3 report: 85 to 90 %)."""


def served(ask: Ask) -> None:
    """Fill layout and load of a row of a server."""
    lengths(ask)
    layout(ask)
    concurrency(ask)
    speculation(ask)
    faults(ask)


def lengths(ask: Ask) -> None:
    """Fill the lengths of prompts and outputs."""
    row = ask.row
    if row["input_len"] == "dataset":
        ask.load["input"], ask.load["output"], ask.load["sent"], ask.load["longest"] = dataset(ask)
        ask.load["lasts_s"] = MLPERF_S
        return
    given, out = number(row["input_len"]), number(row["output_len"])
    if "mean" in row["input_len"]:
        match = re.search(r"mean (\d+)(k?)", row["input_len"])
        given = float(match[1]) * (1024 if match and match[2] else 1) if match else given
    if given is None:
        ask.assumed.append("prompts of 1,024 tokens")
        ask.loose += 1
    if out is None:
        ask.assumed.append("outputs of 256 tokens" if ask.metric != "prefill_tok_s" else "outputs of 1 token")
    ask.load["input"] = max(given if given is not None else 1024.0, 1.0)
    ask.load["output"] = max(out if out is not None else (1.0 if ask.metric == "prefill_tok_s" else 256.0), 1.0)
    cached = re.search(
        r"(\d+(?:\.\d+)?)\s?%\s*(?:prefix-)?cache hits?|(\d+(?:\.\d+)?)% of input tokens hit", row["note"]
    )
    if cached:
        ask.load["cached"] = float(cached[1] or cached[2]) / 100.0


DATASETS = (
    ("llama2-70b", "llama2-70b"), ("mixtral", "mixtral-8x7b"), ("405b", "llama3.1-405b"), ("8b-edge", "llama3.1-8b"), ("llama3.1-8b", "llama3.1-8b"),
    ("deepseek", "deepseek-r1"), ("gptj", "gpt-j"), ("gpt-j", "gpt-j"),
)  # fmt: skip


INPUTS = {
    "llama2-70b": 294.0, "mixtral-8x7b": 320.0, "llama3.1-405b": 9400.0, "llama3.1-8b": 778.0, "deepseek-r1": 800.0, "gpt-j": 1000.0,
}  # fmt: skip
"""Mean tokens of the prompts of MLPerf's datasets (guess: no page that prints them could be read)."""
MLPERF_S = 600.0
"""An offline run sends samples until it has lasted ten minutes (mlperf-conf: min_duration). [s]"""
SAMPLES = {
    "llama2-70b": (24576.0, 1024.0), "mixtral-8x7b": (15000.0, 1024.0), "llama3.1-405b": (8313.0, 2000.0), "llama3.1-8b": (13368.0, 128.0),
    "deepseek-r1": (4388.0, 20000.0), "gpt-j": (13368.0, 128.0),
}  # fmt: skip
"""Samples of MLPerf's datasets and the most tokens of an answer (notes of `mlperf_output_tokens`; Mixtral's, 8B's and GPT-J's are guesses)."""
OUTPUTS = {"llama3.1-8b": 73.0}
"""Mean tokens of outputs that MLPerf prints in characters only (guess)."""


def dataset(ask: Ask) -> tuple[float, float, float, float]:
    """Return the mean lengths of MLPerf's dataset for a model, its samples, and the longest output it allows."""
    name = ask.row["model"].casefold()
    item = next((item for part, item in DATASETS if part in name), None)
    if item is None:
        ask.assumed.append("prompts of 512, outputs of 256 tokens: dataset not known")
        ask.loose += 1
        return 512.0, 256.0, FLOOD, 256.0
    out = evidences("mlperf_output_tokens").get(item)
    samples, longest = SAMPLES[item]
    return INPUTS[item], float(out.value) if out is not None else OUTPUTS.get(item, 128.0), samples, longest


def layout(ask: Ask) -> None:
    """Fill tp, dp, pp and ep of one replica; leave them empty where the row says nothing, for the search to choose."""
    if _noted(ask):
        return
    row, note = ask.row, ask.row["note"]
    words = re.search(r"layout (DEP|TEP|TP|EP)(\d+)", note)
    for key in ("tp", "pp"):
        if row[key] and not number(row[key]):
            raise Skip(f"{key} must be a whole number from 1 up; got '{row[key]}'")
    tp, pp, ep = (number(row[k]) or 1.0 for k in ("tp", "pp", "ep"))
    said = {k: float(m[1]) for k, pattern in COMMAND.items() if (m := re.search(pattern, note))}
    tp = said.get("tp", tp)
    if words and words[1] in ("DEP", "TEP"):
        n = float(words[2])
        ask.layout = {"tp": 1.0 if words[1] == "DEP" else n, "dp": n if words[1] == "DEP" else 1.0, "pp": 1.0, "ep": n}
    elif number(row["tp"]) or "tp" in said:
        dp = said.get("dp", 1.0) if re.search(r"dp[-_]attention", note) else 1.0
        each = tp / dp if tp % dp == 0 and tp >= dp else tp
        wide = max(ep / (each * pp), dp)
        ask.layout = {"tp": each, "dp": wide, "pp": pp, "ep": said.get("ep", ep)}
    elif ep > 1:
        ask.layout = {"tp": 1.0, "dp": ep, "pp": 1.0, "ep": ep}
    wide = ask.layout["tp"] * ask.layout["dp"] * ask.layout["pp"] if ask.layout else 0.0
    if wide > ask.chips:
        ask.assumed.append(f"{wide:g} chips, by the layout, not {ask.chips:g}")
        if ask.metric in ("total_output_tok_s", "prefill_tok_s", "decode_tok_s") and wide % ask.chips == 0:
            ask.load["per_chips"] = ask.chips  # the value is of so many chips of a larger unit
        ask.chips = wide


COMMAND = {
    "tp": r"(?:-tp|--tp-size|--tensor-parallel-size|--tp)[ =](\d+)", "dp": r"(?:--dp-size|--data-parallel-size|-dp|--dp)[ =](\d+)",
    "ep": r"--ep-size[ =](\d+)",
}  # fmt: skip
"""Options of launch commands that say a layout."""


def _noted(ask: Ask) -> bool:
    """Fill the layout that the note of a row of aiconfigurator spells out; return whether it does."""
    agg = re.search(r"tp(\d+) pp(\d+) attn_dp(\d*) moe_tp(\d*) moe_ep(\d*)", ask.row["note"])
    pools = re.search(r"D:\S*\(tp(\d+) dp(\d*) ep(\d*)", ask.row["note"])
    if agg:
        tp, pp, ep, dp = float(agg[1]), float(agg[2]), float(agg[5] or 1), float(agg[3] or 1)
        if agg[3] == "" and ask.chips > tp * pp and ask.chips / (tp * pp) != ep:
            dp = ask.chips / (tp * pp)
        ask.layout = {"tp": tp, "dp": max(dp, 1.0), "pp": pp, "ep": max(ep, 1.0)}
        true = tp * pp * ask.layout["dp"]
        if true != ask.chips:
            ask.assumed.append(f"{true:g} chips, by the layout in the note, not {ask.chips:g}")
            ask.chips = true
    elif pools:
        tp, dp, ep = float(pools[1]), float(pools[2] or 1), float(pools[3] or 1)
        ask.layout = {"tp": max(tp / dp, 1.0) if dp > 1 else tp, "dp": dp, "pp": 1.0, "ep": max(ep, 1.0)}
    return bool(agg or pools)


def concurrency(ask: Ask) -> None:
    """Fill how many requests are in flight for each replica, and how many a benchmark sends."""
    text = ask.row["batch_or_concurrency"].casefold()
    many = number(text)
    if ask.kind == "offline":
        ask.load["concurrency"] = FLOOD if many is None else many
        ask.load["waves"] = 0.0
        return
    if ask.kind == "flood":
        ask.load["concurrency"] = many or 1000.0
        sent = number((re.search(r"over (\d+) requests", ask.row["note"]) or [""])[0])
        ask.load["sent"] = sent or 1000.0
        ask.load["waves"] = max(ask.load["sent"] / ask.load["concurrency"], 1.0)
        if many is None:
            ask.assumed.append("1,000 requests at once")
            ask.loose += 1
        return
    if many is None:
        if ask.metric in ("total_output_tok_s", "decode_tok_s") and ("production" in text or "max" in text):
            ask.load["concurrency"] = FLOOD
            return
        ask.assumed.append("one request at once")
        ask.loose += 1
        many = 1.0
    ask.load["concurrency"] = max(many, 1.0)
    ask.load["waves"] = WAVES.get(ask.group, 10.0)


def speculation(ask: Ask) -> None:
    """Fill drafts where a row says that it speculates."""
    words = (ask.row["note"] + " " + ask.row["engine"]).casefold()
    if re.search(r"speculative decoding off", words):
        return
    if re.search(r"speculative decoding suffix", words):
        ask.load |= {"drafts": 2.0, "accepted": 0.45}
        ask.assumed.append("suffix drafts: 2 proposed, 0.45 accepted")
        ask.loose += 1
    elif re.search(r"\bmtp\b|speculat|eagle|draft", words) and "speculation off" not in words:
        ask.load |= {"drafts": 1.0, "accepted": MTP_ACCEPTED}
        ask.assumed.append(f"one draft a step, accepted {MTP_ACCEPTED:g}")
        ask.loose += 1


def faults(ask: Ask) -> None:
    """Mark what cannot be a measurement of what the row states."""
    row = ask.row
    if ask.group == "silicon" and ask.kind == "served":
        if ask.layout.get("tp", 1.0) in (12.0, 20.0, 24.0, 28.0, 36.0, 48.0, 72.0):
            ask.kind = "disagg"
            ask.assumed.append("a disaggregated run labelled aggregated: no replica has such a tp")
        elif not number(row["n_devices"]):
            ask.fault = "no devices"
    if "peak" in row["batch_or_concurrency"]:
        ask.loose += 1


def chips_of(ask: Ask) -> float:
    """Return the chips that the measured value covers."""
    if not ask.chips:
        raise Skip("no chips")
    return ask.load.get("per_chips", ask.chips)

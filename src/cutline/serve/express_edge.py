"""Rows of one user's machine: a laptop, a card or a phone that runs one request."""

from __future__ import annotations

import re

from cutline.serve import local
from cutline.serve.express import Ask, number
from cutline.serve.formats import published

ACCEPTED = 1.0
"""Tokens that speculation adds to a step where a row says that it speculates and not how well (guess)."""


def edge(ask: Ask) -> None:
    """Fill the quantisation and the lengths of a row of a local engine."""
    row = ask.row
    bits = local.gguf_bits(row["weight_precision"]) if row["weight_precision"] else None
    if bits is None:
        named = re.search(
            r"(u?d?-?i?q\d\w*|mxfp4|nvfp4|\dbit|bf16|f16|fp8)\b", row["model"].casefold().replace(".gguf", "")
        )
        bits = local.gguf_bits(named[1]) if named else None
        if bits is None:
            bits = 4.25 if published(row["model"]) == "mxfp4" else 4.8944
            ask.assumed.append(f"weights at {bits:g} bits")
            ask.loose += 1
    given, out = number(row["input_len"]), number(row["output_len"])
    if "shortest" in row["input_len"]:
        given = local.CHUNK
    if given is None:
        given = 512.0 if ask.metric == "prefill_tok_s" else 64.0
        ask.assumed.append(f"a prompt of {given:g} tokens")
    if ask.kind == "npu" and ask.metric == "decode_tok_s":
        given, out = 0.0, 0.0  # measured behind a short prompt
    ask.load = {"input": given, "output": out if out is not None else 128.0, "concurrency": 1.0, "bits": bits}
    if given > 0 and ask.metric == "decode_tok_s" and ask.group in ("llamacpp-gpu", "llamacpp-apple", "llamacpp-other"):
        ask.load["input"] = number(row["input_len"]) or 0.0
    if re.search(r"speculat|mtp on|mtp\b.*on", row["note"].casefold()):
        ask.load["accepted"] = ACCEPTED
        ask.assumed.append("speculation adds a token a step")
        ask.loose += 1

"""Mixed plans that FlagScale publishes as configurations, laid beside what Cutline makes of the same chips.

FlagScale prints meshes and layers per stage, and no times; so what can be compared is the choice. For each plan the layers are
moved between the groups while everything else stays, and the published split takes its place in that order.

python examples/published_mixed.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cutline.core.errors import CutlineError
from cutline.facts.models import Model
from cutline.plan import mixed, mixed_run
from cutline.plan.fleet import fleet


@dataclass(frozen=True)
class Published:
    """One configuration: chips, model, batch, and per group (tp, stages, layers of each stage)."""

    name: str
    on: str
    model: Model
    batch: int
    groups: tuple[tuple[int, int, int], ...]
    url: str


def dense(name: str, layers: int, hidden: int, heads: int, kv: int, head_dim: int, ffn: int, vocab: int) -> Model:
    """Return a decoder with a gate, without biases, its head apart from the embedding, 4,096 tokens long."""
    return Model(
        name, "dense", layers, hidden, heads, kv, head_dim, ffn, True, vocab, False, 2, 1, context=4096, dense_layers=layers
    )  # fmt: skip


AT = "https://github.com/FlagOpen/FlagScale/tree/main/examples/"
PLANS = (
    Published("Llama-3 8B on A800 and MLU590", "8 x A800 + 8 x MLU590", dense("llama3-8b", 32, 4096, 32, 8, 128, 14336, 128256), 256,
              ((1, 1, 16), (2, 1, 16)), AT + "llama3"),
    Published("Aquila 34B on A800 and A100-40GB", "128 x A800 + 384 x A100-SXM-40GB", dense("aquila-34b", 60, 6144, 48, 8, 128, 24576, 100008),
              1024, ((4, 1, 15), (4, 3, 15)), AT + "aquila"),
    Published("Aquila 70B on A800 and A100-40GB", "128 x A800 + 384 x A100-SXM-40GB", dense("aquila-70b", 80, 8192, 64, 8, 128, 28672, 100008),
              1024, ((8, 1, 20), (8, 3, 20)), AT + "aquila"),
)  # fmt: skip


def ranked(p: Published) -> dict[str, Any]:
    """Return where the published layers stand among all ways to share them out, and what the best plan of any kind takes."""
    q = mixed.mixed(p.model, fleet(p.on), global_batch=p.batch, tokens=1e12)
    (_, pp, n), (_, other_pp, m) = p.groups
    replicas = [j.group.chips // (tp * stages) for j, (tp, stages, _) in zip(q.jobs, p.groups, strict=True)]
    chosen = [  # all groups hand on as many sequences at once: one on the group of most replicas
        {"tp": float(tp), "cp": 1.0, "pp": float(stages), "micro_batch": max(replicas) / dp, "zero": 1.0}
        for dp, (tp, stages, _) in zip(replicas, p.groups, strict=True)
    ]
    steps = {}
    for layers in range(1, p.model.layers):
        rest = p.model.layers - pp * layers
        if rest < other_pp or rest % other_pp:
            continue
        try:
            split = mixed.given(q, chosen, None, [[layers] * pp, [rest // other_pp] * other_pp])
        except CutlineError:
            continue  # some stage does not fit
        steps[layers] = split.step_s
    order = sorted(steps, key=lambda k: steps[k])
    best = mixed_run.plan(q)["best"]
    return {
        "name": p.name, "published": f"{n} / {m}", "rank": order.index(n) + 1 if n in steps else None, "of": len(order),
        "first": f"{order[0]} / {(p.model.layers - pp * order[0]) // other_pp}", "step_s": steps.get(n), "first_s": steps[order[0]],
        "best": best["how"], "best_s": best["step_s"], "url": p.url,
    }  # fmt: skip


def table() -> str:
    """Return the comparison as a Markdown table."""
    lines = [
        "| plan | layers per stage, published | place among all splits | first by Cutline | step, published and first | best plan of any kind |",
        "|---|---|---|---|---|---|",
    ]
    for p in PLANS:
        r = ranked(p)
        place = f"{r['rank']} of {r['of']}" if r["rank"] else f"does not fit ({r['of']} do)"
        lines.append(
            f"| [{r['name']}]({r['url']}) | {r['published']} | {place} | {r['first']} | "
            f"{'-' if r['step_s'] is None else format(r['step_s'], '.3g')} s, {r['first_s']:.3g} s | {r['best']}: {r['best_s']:.3g} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())

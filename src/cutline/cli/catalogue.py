"""The commands `chips`, `chip`, `models` and `model`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cutline.cli import inputs
from cutline.cli.planning import Json, ModelName

Maker = Annotated[str | None, typer.Option("--maker", help="Only those of one maker.", metavar="NAME")]
NUMBERS = {
    "bf16_dense_flop_per_s": ("peak", "bf16-dense"),
    "fp16_dense_flop_per_s": ("peak", "fp16-dense"),
    "memory_bytes": ("memory", ""),
    "memory_bytes_per_s": ("memory_rate", ""),
    "scale_up_bytes_per_s": ("link", "scale-up"),
    "power_w": ("power", ""),
}
"""Columns of `cutline chips` and the facts they hold."""


def chips(maker: Maker = None, json: Json = False) -> None:
    """List the chips of the catalogue."""
    from cutline.cli import screen

    answer = list_of_chips(maker)
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_catalogue

    show_catalogue.chips(answer)


def chip(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A part's name, in any case.")],
    json: Json = False,
) -> None:
    """Show all claims about one chip with their sources.

    The trusted claim of a fact comes first, the losing ones below it, guesses are marked.
    """
    from cutline.cli import screen

    answer = facts_of("chips", name)
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_catalogue

    show_catalogue.chip(answer)


def models(json: Json = False) -> None:
    """List the models of the catalogue."""
    from cutline.cli import screen

    answer = list_of_models()
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_catalogue

    show_catalogue.models(answer)


def model(name: ModelName, json: Json = False) -> None:
    """Show the shape of a model or of a config.json.

    Prints parameters part by part, and every source; of a file the keys that were used and assumed.
    """
    from cutline.cli import screen

    answer = shape_of(name)
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_catalogue

    show_catalogue.model(answer)


def list_of_chips(maker: str | None = None) -> dict[str, Any]:
    """Return the parts of the catalogue, `chips`, each with the facts that one line holds; None if not known.

    Raises
    ------
    UnknownName
        If no part is of this maker.
    """
    from cutline.core.errors import UnknownName
    from cutline.facts.chips import chip
    from cutline.facts.chips import chips as names

    rows = []
    for name in names():
        part = chip(name)
        row: dict[str, Any] = {k: part.text(k) for k in ("maker", "country", "segment", "family", "released")}
        row |= {k: float(part.facts[f].value) if f in part.facts else None for k, f in NUMBERS.items()}
        rows.append({"name": part.name} | row)
    if maker is None:
        return {"chips": rows}
    makers = sorted({r["maker"] for r in rows})
    wanted = maker.strip().casefold()
    found = [r for r in rows if r["maker"].casefold() == wanted]
    if not found:
        raise UnknownName("maker", maker, makers, "`cutline chips`")
    return {"chips": found}


def facts_of(table: str, name: str) -> dict[str, Any]:
    """Return all claims about a name of `chips` or `models`, best first; losing ones have `used` False."""
    from cutline.facts import reader
    from cutline.plan.provenance import claim_row

    known = reader.table(table)
    name = known.resolve(name)
    claims = [
        {"field": field, "item": item, "amount": claim.value, "used": place == 0} | claim_row(claim)
        for (field, item), found in known.claims(name).items()
        for place, claim in enumerate(found)
    ]
    return {"name": name, "claims": claims}


def list_of_models() -> dict[str, Any]:
    """Return the models of the catalogue, `models`, with size, shape and training tokens."""
    from cutline.core.errors import CutlineError
    from cutline.facts import reader
    from cutline.facts.models import model, parameters

    known = reader.table("models")
    rows = []
    for name in sorted(known, key=str.casefold):
        row: dict[str, Any] = {"name": name}
        for field in ("maker", "country", "released", "kind"):
            claim = known.best(name, field)
            row[field] = claim.value if claim else ""
        try:
            m = model(name)
            count = parameters(m)
            row |= {"parameters": count.total, "active": count.active, "layers": m.layers, "hidden": m.hidden}
            row |= {"kind": m.kind, "context": m.context or None, "tokens": m.tokens}
        except CutlineError:  # a shape that nobody published
            size = known.best(name, "parameters")
            row |= dict.fromkeys(("parameters", "active", "layers", "hidden", "context", "tokens"))
            row["parameters"] = size.value if size else None
        rows.append(row)
    return {"models": rows}


def shape_of(name: str) -> dict[str, Any]:
    """Return the shape of a catalogue's model or of a config.json, with its parameters by part.

    A model of the catalogue comes with its `claims`, a file with the keys that were `used` and the defaults
    that were `assumed`.
    """
    from dataclasses import asdict

    from cutline.facts.models import model, parameters

    if inputs.is_file(name):
        from cutline.formats.huggingface import reading

        found, used, assumed = reading(name)
        rest: dict[str, Any] = {"used": used, "assumed": assumed, "claims": []}
    else:
        found = model(name)
        rest = {"claims": facts_of("models", name)["claims"]}
    shape = asdict(found)
    shape["sources"] = list(found.sources)
    return {"name": found.name, "shape": shape, "parameters": parameters(found)._asdict()} | rest

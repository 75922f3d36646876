"""The commands `rule`, `rules` and `line`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutline.cli import inputs
from cutline.cli.planning import Json
from cutline.core.errors import CutlineError, DataError, UnknownName, suggestions

if TYPE_CHECKING:
    from cutline.law.foundry import Die
    from cutline.law.measures import Part

To = Annotated[str, typer.Option("--to", help="Destination: ISO code or name, such as CN or Macau.", metavar="CC")]
Hq = Annotated[str | None, typer.Option("--hq", help="Headquarters of the buyer.", metavar="CC")]
ParentHq = Annotated[
    str | None, typer.Option("--parent-hq", help="Headquarters of the buyer's ultimate parent.", metavar="CC")
]
From = Annotated[str, typer.Option("--from", help="Where it is shipped from.", metavar="CC")]
OnDay = Annotated[str | None, typer.Option("--on", help="Day of the export; today if left out.", metavar="DATE")]
Known = Annotated[str | None, typer.Option("--known", help="Count only what was public on this day.", metavar="DATE")]
Layer = Annotated[str, typer.Option("--layer", help="as_enforced, or text.", metavar="NAME")]
Reform = Annotated[
    list[str] | None, typer.Option("--reform", help="A bill that counts as law, by name or file; may be repeated.", metavar="NAME|FILE")
]  # fmt: skip
Tpp = Annotated[
    str | None, typer.Option("--tpp", help="Total processing performance: TOPS x bits, dense.", metavar="N")
]
Peak = Annotated[
    list[str] | None,
    typer.Option(
        "--peak", help="A rate in TFLOP/s, such as fp16=148 or fp8-sparse=592; may be repeated.", metavar="F=N"
    ),
]
DieArea = Annotated[
    str | None, typer.Option("--die-area", help="Non-planar logic dies, mm2; 300..400 if not sure.", metavar="N")
]
Planar = Annotated[bool, typer.Option("--planar", help="On a planar process: no die area counts.")]
Memory = Annotated[str | None, typer.Option("--memory-bandwidth", help="DRAM, GB/s in all.", metavar="N")]
Io = Annotated[str | None, typer.Option("--io-bandwidth", help="All other I/O, both ways, GB/s.", metavar="N")]
Stack = Annotated[str | None, typer.Option("--stack-area", help="A memory stack and its area, mm2.", metavar="N")]
Flop = Annotated[str | None, typer.Option("--training-flop", help="Unpublished model weights.", metavar="N")]
Datacenter = Annotated[
    bool | None, typer.Option("--datacenter/--no-datacenter", help="Designed or marketed for data centres.")
]
Maker = Annotated[str | None, typer.Option("--maker", help="Of an imagined chip: letters bind NVIDIA, AMD, Intel.", metavar="NAME")]  # fmt: skip
UsMarket = Annotated[
    bool | None,
    typer.Option("--us-market/--no-us-market", help="Of an imagined chip: sold in the United States by 2026-01-15."),
]
Party = Annotated[str | None, typer.Option("--party", help="The buyer by name.", metavar="NAME")]
EndUse = Annotated[str | None, typer.Option("--end-use", help="supercomputer or military.", metavar="NAME")]
Listed = Annotated[bool, typer.Option("--listed", help="The buyer is on the Entity List.")]
ListedShare = Annotated[str, typer.Option("--listed-share", help="Share held by listed parties, %.", metavar="N")]
Form = Annotated[str | None, typer.Option("--form", help="Only its numbers: chip, board, server.", metavar="NAME")]
Transistors = Annotated[
    str | None, typer.Option("--transistors", help="Exported by its fabricator: approximate count.", metavar="N")
]
Hbm = Annotated[bool | None, typer.Option("--hbm/--no-hbm", help="Of a fabricator's die: with HBM.")]
Designer = Annotated[
    str | None, typer.Option("--designer", help="Of a fabricator's die: approved, authorised, other.", metavar="NAME")
]
Packaged = Annotated[
    str,
    typer.Option("--packaged-by", help="Outside Macau and D:5: fabricator, approved OSAT; else other.", metavar="NAME"),
]
FILE_COLUMNS = (
    "name", "tpp", "die_area_mm2", "memory_gb_per_s", "io_gb_per_s", "datacenter", "maker", "us_market", "planar",
    "fp16_tflop_per_s", "fp16_sparse_tflop_per_s", "fp8_tflop_per_s", "fp8_sparse_tflop_per_s",
)  # fmt: skip
"""Columns of a file of chips; `name` and one that tells TPP are needed."""


def rule(
    chip: Annotated[str | None, typer.Argument(metavar="[CHIP|FILE]", help="A part, or a .csv of chips.")] = None,
    to: To = "", hq: Hq = None, parent_hq: ParentHq = None, origin: From = "US", on: OnDay = None, known: Known = None,
    layer: Layer = "as_enforced", reform: Reform = None, tpp: Tpp = None, peak: Peak = None, die_area: DieArea = None,
    planar: Planar = False, memory_bandwidth: Memory = None, io_bandwidth: Io = None, stack_area: Stack = None,
    training_flop: Flop = None, datacenter: Datacenter = None, maker: Maker = None, party: Party = None,
    end_use: EndUse = None, listed: Listed = False, listed_share: ListedShare = "0", form: Form = None,
    transistors: Transistors = None, hbm: Hbm = None, designer: Designer = None, packaged_by: Packaged = "",
    us_market: UsMarket = None,
    every: Annotated[bool, typer.Option("--all", help="Screen all parts of the catalogue.")] = False,
    past: Annotated[bool, typer.Option("--history", help="How the answer changed since 2022.")] = False,
    worksheet: Annotated[
        str | None, typer.Option("--worksheet", help="Write the working as Markdown; to a file if one is named.", metavar="[FILE]")
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Say whether a chip may go to a buyer on a day, under which paragraph and policy, and by what margin.

    CHIP is a part of the catalogue; an imagined chip is described with --tpp or --peak, --die-area,
    --memory-bandwidth, --io-bandwidth. What is left out is unknown, and the answer says where it would flip.
    Not legal advice.
    """
    from cutline.cli import screen, show_rules
    from cutline.law.screen import every_part, screen_parts
    from cutline.law.verdict import history
    from cutline.law.verdict import rule as verdict

    asked = asked_of(to, hq, parent_hq, origin, on, known, layer, reform, party, end_use, listed, listed_share)
    described = {
        "tpp": tpp, "die_area": die_area, "memory_bandwidth": memory_bandwidth, "io_bandwidth": io_bandwidth,
        "stack_area": stack_area, "training_flop": training_flop,
    }  # fmt: skip
    peaks = peaks_of(peak)
    described_any = bool(peaks or planar or any(v is not None for v in described.values()))
    many = every or (chip is not None and chip.casefold().endswith(".csv"))
    die = die_of(transistors, hbm, designer, packaged_by)
    if many:
        alone = {
            "CHIP": every and chip is not None, "a description": described_any, "--maker": maker, "--us-market": us_market is not None,
            "--form": form, "--worksheet": worksheet is not None, "--history": past, "what a fabricator knows": die,
        }  # fmt: skip
        _refuse("--all and a file of chips are judged as they stand", alone)
        parts = every_part() if every else read_parts(Path(str(chip)))
        answer = screen_parts([p if p.datacenter is not None else p.changed({}, datacenter) for p in parts], **asked)
        screen.print_json(answer) if json else show_rules.table(answer)
        return
    part = part_of(chip, described, peaks, planar, datacenter, maker, us_market)
    if past:
        _refuse("--history has no worksheet and no form", {"--worksheet": worksheet is not None, "--form": form})
        spans = {
            "item": part.name,
            "to": asked["to"],
            "on": asked["on"].isoformat(),
            "history": history(part, die=die, **asked),
        }
        screen.print_json(spans) if json else show_rules.history(spans)
        return
    shape = inputs.one_of(form, "--form", ("chip", "board", "server")) if form else ""
    answer = verdict(part, form=shape, die=die, **asked)
    if worksheet is not None:
        from cutline.cli.worksheet import markdown

        write(worksheet, markdown(answer))
    elif json:
        screen.print_json(answer)
    else:
        show_rules.verdict(answer)


def _refuse(why: str, given: dict[str, Any]) -> None:
    """Refuse options that an answer would leave out without a word."""
    beside = [name for name, value in given.items() if value]
    if beside:
        raise CutlineError(f"{why}; leave out {', '.join(beside)}")


def rules(
    on: Annotated[str | None, typer.Option("--on", help="Only what is in force on this day.", metavar="DATE")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only rule, letter, guidance, bill, import ...", metavar="NAME")
    ] = None,
    json: Json = False,
) -> None:
    """Show the timeline: acts, letters, notices and bills, each with its citation and how it was read.

    Bills carry the name under which --reform switches them on.
    """
    from cutline.cli import screen, show_rules

    answer = timeline(None if on is None else day(on, "--on"), kind)
    if json:
        screen.print_json(answer)
        return
    show_rules.timeline(answer)


def line(
    to: To = "", hq: Hq = None, parent_hq: ParentHq = None, on: OnDay = None, known: Known = None,
    layer: Layer = "as_enforced", reform: Reform = None, json: Json = False,
) -> None:  # fmt: skip
    """Draw the boundary of what needs no licence: corners in TPP, density, transfer rate and memory bandwidth."""
    from cutline.cli import screen, show_rules
    from cutline.law.line import line as boundary

    asked = asked_of(to, hq, parent_hq, "US", on, known, layer, reform, None, None, False, "0")
    answer = boundary(**asked)
    if json:
        screen.print_json(answer)
        return
    show_rules.line(answer)


def design(
    to: To = "",
    goal: Annotated[str, typer.Option("--for", help="'train MODEL' or 'decode MODEL'.", metavar="GOAL")] = "",
    hq: Hq = None, parent_hq: ParentHq = None, on: OnDay = None, known: Known = None, layer: Layer = "as_enforced",
    reform: Reform = None,
    like: Annotated[str, typer.Option("--like", help="Part whose process, package and links are taken.", metavar="CHIP")] = "H100-SXM-80GB",
    dies: Annotated[str, typer.Option("--dies", help="Dies of reticle size in a package.", metavar="N")] = "1",
    chips: Annotated[str, typer.Option("--chips", help="Chips that train together.", metavar="N")] = "1024",
    context: Annotated[str, typer.Option("--context", help="Tokens in front of each decoded one.", metavar="N")] = "8192",
    compare: Annotated[str, typer.Option("--compare", help="Parts to stand beside.", metavar="CHIP,...")] = "H20",
    json: Json = False,
) -> None:  # fmt: skip
    """Find the best chip that needs no licence, and how far each line since 2022 moves training or decoding."""
    from cutline.cli import screen, show_design
    from cutline.plan.design import design as best_below
    from cutline.plan.fleet import MOST

    asked = asked_of(to, hq, parent_hq, "US", on, known, layer, reform, None, None, False, "0")
    what, _, name = goal.strip().partition(" ")
    if what not in ("train", "decode") or not name.strip():
        raise CutlineError(f"--for must be 'train MODEL' or 'decode MODEL'; got '{goal}'")
    model = inputs.model_named(name.strip())
    with screen.progress("designs") as tick:
        answer = best_below(
            model, what, like=like, dies=inputs.whole(dies, "--dies", 64), chips=inputs.whole(chips, "--chips", MOST),
            context=float(inputs.whole(context, "--context")), compare=tuple(inputs.names(compare, "--compare")), progress=tick, **asked,
        )  # fmt: skip
    if json:
        screen.print_json(answer)
        return
    show_design.design(answer)


def day(text: str, option: str) -> date:
    """Read a day written as YYYY-MM-DD.

    Examples
    --------
    >>> day("2025-05-01", "--on")
    datetime.date(2025, 5, 1)
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise CutlineError(f"{option} must be a day such as 2025-05-01; got '{text}'") from None


def asked_of(
    to: str, hq: str | None, parent_hq: str | None, origin: str, on: str | None, known: str | None, layer: str,
    reform: list[str] | None, party: str | None, end_use: str | None, listed: bool, listed_share: str,
) -> dict[str, Any]:  # fmt: skip
    """Return the arguments of `law.verdict.rule` that say who, where and when."""
    from cutline.facts import law
    from cutline.law.day import country

    if not to.strip():
        raise CutlineError("--to is needed: the destination, such as --to CN")
    try:
        share = float(listed_share.strip().removesuffix("%"))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise CutlineError(f"--listed-share must be between 0 and 100 %; got '{listed_share}'")
    return {
        "to": country(to, "--to"),
        "on": date.today() if on is None else day(on, "--on"),
        "known": None if known is None else day(known, "--known"),
        "layer": inputs.one_of(layer.replace("-", "_"), "--layer", law.LAYERS),
        "reforms": tuple(law.reform(name) for name in reform or ()),
        "headquarters": country(hq, "--hq") if hq else "",
        "parent": country(parent_hq, "--parent-hq") if parent_hq else "",
        "origin": country(origin, "--from"),
        "name": party or "",
        "end_use": inputs.one_of(end_use, "--end-use", law.WORDS["end_use"]) if end_use else "",
        "listed": listed,
        "listed_share": share,
    }


def peaks_of(given: list[str] | None) -> dict[str, object]:
    """Read rates such as `fp16=148`."""
    found: dict[str, object] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise CutlineError(f"--peak must be a format and a rate such as fp16=148; got '{text}'")
        found[name.strip().casefold()] = value
    return found


def maker_of(text: str | None) -> str:
    """Return a maker as the catalogue and the letters spell it; empty if none is given, or `other`.

    Raises
    ------
    UnknownName
        With the makers that come close: letters bind by name, so a slip would hide one.
    """
    from cutline.facts.chips import chip, chips
    from cutline.facts.law import law

    if text is None or text.strip().casefold() in ("", "other"):
        return ""
    known = {chip(name).text("maker") for name in chips()} | {m for r in law().tables["requirement"] for m in r.makers}
    found = {m.casefold(): m for m in known}.get(text.strip().casefold())
    if found is None:
        raise UnknownName("maker", text, known, "`cutline chips` names them, 'other' is none of them; it")
    return found


def part_of(
    name: str | None, described: dict[str, Any], peaks: dict[str, object], planar: bool, datacenter: bool | None,
    maker: str | None, us_market: bool | None,
) -> Part:  # fmt: skip
    """Return the part that the words mean: of the catalogue, changed by what is described, or imagined."""
    from cutline.law import measures

    if name is None:
        if not (peaks or any(v is not None for v in described.values())):
            raise CutlineError("name a CHIP, or describe one with --tpp or --peak; `cutline chips` lists the catalogue")
        return measures.imagined(
            peaks=peaks, planar=planar, datacenter=datacenter, maker=maker_of(maker), sold_in_us=us_market, **described
        )
    if maker is not None or us_market is not None:
        raise CutlineError("--maker and --us-market are for an imagined chip; the catalogue knows them of this one")
    found = measures.chip(name)
    return found.changed(measures.given(peaks=peaks, planar=planar, **described), datacenter)


def read_parts(path: Path) -> list[Part]:
    """Read a file of chips with the columns `FILE_COLUMNS`, in any order; an empty cell is not known.

    A row with nothing but a name is a part of the catalogue.

    Raises
    ------
    DataError
        With file, line and column.
    """
    from cutline.facts.reader import rows

    found = []
    for number, row in rows(path):
        cell = {}
        for column, value in row.items():
            name = column.strip().casefold()
            if name not in FILE_COLUMNS:
                close = suggestions(name, FILE_COLUMNS, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise DataError(
                    path.name, 1, f"column '{column}' is not known; it must be one of {', '.join(FILE_COLUMNS)}{hint}"
                )
            cell[name] = value.strip() or None
        try:
            found.append(_read_part(cell))
        except CutlineError as error:
            raise DataError(path.name, number, str(error)) from None
    if not found:
        raise DataError(path.name, None, "no chips in it")
    return found


def _read_part(cell: dict[str, str | None]) -> Part:
    """Return the part of one row of a file."""
    from cutline.law import measures

    if not cell.get("name"):
        raise CutlineError("name is empty")
    flags = {"yes": True, "true": True, "no": False, "false": False}
    read = {}
    for column in ("datacenter", "planar", "us_market"):
        text = cell.get(column)
        if text is not None and text.casefold() not in flags:
            raise CutlineError(f"{column} must be yes, no or empty; got '{text}'")
        read[column] = None if text is None else flags[text.casefold()]
    if not any(value for column, value in cell.items() if column != "name"):
        return measures.chip(str(cell["name"]))
    peaks = {
        column.removesuffix("_tflop_per_s").replace("_", "-"): value
        for column, value in cell.items() if column.endswith("_tflop_per_s") and value is not None
    }  # fmt: skip
    return measures.imagined(
        str(cell["name"]), tpp=cell.get("tpp"), die_area=cell.get("die_area_mm2"),
        memory_bandwidth=cell.get("memory_gb_per_s"), io_bandwidth=cell.get("io_gb_per_s"), peaks=peaks,
        datacenter=read["datacenter"], planar=bool(read["planar"]), maker=maker_of(cell.get("maker")), sold_in_us=read["us_market"],
    )  # fmt: skip


def die_of(transistors: str | None, hbm: bool | None, designer: str | None, packaged_by: str) -> Die | None:
    """Return what a fabricator or packager knows of its die; None if nothing is said, for other exporters."""
    from cutline.law.foundry import Die
    from cutline.law.measures import interval

    if transistors is None and hbm is None and designer is None and not packaged_by:
        return None
    count = None if transistors is None else interval(transistors, "transistors", above=True).low
    return Die(count, hbm, designer or "other", packaged_by)


def timeline(on: date | None = None, kind: str | None = None) -> dict[str, Any]:
    """Return the acts of the catalogue, oldest first, and the bills that can be switched on."""
    from dataclasses import asdict

    from cutline.facts import law

    book = law.law()
    bills = {act.id: name for name, tables in book.reforms.items() for act in tables.get("instrument", ())}
    kinds = sorted({a.kind for a in book.instruments.values()})
    if kind is not None:
        inputs.one_of(kind, "--kind", tuple(kinds))
    rows = []
    for act in sorted(book.instruments.values(), key=lambda a: (a.effective or a.known, a.known, a.id)):
        begun = on is None or max(act.effective or act.known, act.known) <= on
        ended = act.until is not None and on is not None and act.until <= on
        if (kind is not None and act.kind != kind.strip().casefold()) or not begun or ended:
            continue
        if on is not None and act.kind in ("bill", "proposal"):
            continue
        row = {k: v.isoformat() if isinstance(v, date) else v for k, v in asdict(act).items()}
        rows.append(row | {"reform": bills.get(act.id)})
    return {"on": None if on is None else on.isoformat(), "acts": rows}


def write(path: str, text: str) -> None:
    """Write a text to a file, or to the output if its name is `-`."""
    import sys

    if path == "-":
        sys.stdout.write(text)
        return
    Path(path).write_text(text, encoding="utf-8")
    print(f"  written to {path}")

"""What the rules measure of a part, from its facts or from a description, exact and with what is open or unknown.

TPP counts the highest dense rate over number formats, times the bit length of the inputs (FP8 into FP32 is 8, FP6 is 6,
FP4 is 4), all dies of the package together. TF32 counts 19 bits; that it may count 32 stays open. The area is that of
logic dies on a non-planar process. The transfer rate is both ways, over links between chips and the host bus. Memory
is DRAM only. Definitions: 15 CFR 774 Supp. 1, 3A090, technical notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation

from cutline.core import units
from cutline.core.errors import CutlineError
from cutline.facts import reader
from cutline.facts.law import law
from cutline.facts.reader import Claim

BITS = {"fp64": 64, "fp32": 32, "tf32": 19, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "fp6": 6, "fp4": 4, "int4": 4}
"""Bit length of the inputs by number format."""
TF32_BITS = (19, 32)
"""What TF32 carries, and what it is stored in; the rules do not say which counts."""
ROUNDED = Decimal("1.01")
"""Rates of one part that differ by less are the same rate, rounded."""
NPU_BITS = 8
"""Marketed rates of phone and laptop NPUs are taken as INT8, and are added: all units of the chip count."""
PLANAR_NM = 20
"""Logic at 20 nm and above is planar, but for Intel's 22 nm; below it is FinFET or gate-all-around."""
OPEN_END = None
SMALL = ("phone", "laptop", "edge")
SMALL_IO = Decimal(512)
"""Chips of phones, laptops and edge boards have no links of their own, and fewer lanes than 64 of PCIe 5 (guess)."""
WORKSTATION = "sold for workstations"
QUANTITIES = {
    "tpp": "TPP",
    "area_mm2": "die area, mm2",
    "io_gb_per_s": "transfer rate, GB/s",
    "interconnect_gb_per_s": "interconnect, GB/s",
    "memory_gb_per_s": "memory bandwidth, GB/s",
    "stack_mm2": "package area, mm2",
    "tops": "TOPS",
    "training_flop": "training operations",
}
"""Columns of `Items` that a part has, as words."""


@dataclass(frozen=True)
class Measure:
    """One quantity: exact if `low` is `high`; between the two if not; `high` None means no upper end."""

    low: Decimal
    high: Decimal | None
    says: str = ""
    claims: tuple[Claim, ...] = ()
    open: tuple[tuple[Decimal, str], ...] = ()
    """other readings of the rule, each of which may count"""
    disputed: tuple[tuple[Decimal, str], ...] = ()
    """what sources say that lost"""

    @property
    def exact(self) -> bool:
        """Whether the quantity is known."""
        return self.low == self.high


@dataclass(frozen=True)
class Part:
    """An item as the rules see it. `datacenter` and `sold_in_us` are None where that is not known."""

    name: str
    measures: Mapping[str, Measure]
    datacenter: bool | None
    maker: str = ""
    maker_country: str = ""
    sold_in_us: bool | None = None
    released: str = ""
    form: str = "chip"
    notes: tuple[str, ...] = field(default=())
    readings: tuple[tuple[str, Mapping[str, Measure]], ...] = ()
    """other ways to read the rule that change several quantities at once, each of which may count"""

    def changed(self, measures: Mapping[str, Measure], datacenter: bool | None = None) -> Part:
        """Return the part with quantities, or the flag, that a user gave in place of those of the catalogue."""
        flag = self.datacenter if datacenter is None else datacenter
        notes = self.notes if datacenter is None else tuple(n for n in self.notes if not n.startswith(WORKSTATION))
        if measures:
            notes += (f"changed by hand: {', '.join(QUANTITIES[k] for k in measures)}",)
        return replace(self, measures={**self.measures, **measures}, datacenter=flag, notes=notes)


UNKNOWN = Measure(Decimal(0), OPEN_END, "not known")


def exactly(value: Decimal, says: str = "", claims: tuple[Claim, ...] = ()) -> Measure:
    """Return a known quantity."""
    return Measure(value, value, says, claims)


def decimal(claim: Claim, scale: str) -> Decimal:
    """Return a claim as it was printed, in multiples of `scale` base units.

    Examples
    --------
    >>> decimal(reader.table("chips").best("H20", "memory_rate"), "1e9")
    Decimal('4000')
    """
    text, _, unit = claim.printed.partition(" ")
    factor = Decimal(units.UNITS[unit or "1"][1])
    return (Decimal(text) * factor / Decimal(scale)).normalize() + 0


def maker_named(name: str) -> str:
    """Return a maker as letters spell it: they bind by name, in any case.

    Examples
    --------
    >>> maker_named("nvidia"), maker_named("Acme")
    ('NVIDIA', 'Acme')
    """
    bound = {m for row in law().tables["requirement"] for m in row.makers}
    return str({m.casefold(): m for m in bound}.get(name.strip().casefold(), name.strip()))


def chip(name: str) -> Part:
    """Return a part of the catalogue as the rules measure it.

    Raises
    ------
    UnknownName
        With the names that come close.
    CutlineError
        A part without any dense peak rate, and without a description as memory.
    """
    table = reader.table("chips")
    name = table.resolve(name)
    facts = table.claims(name)
    best = {key: found[0] for key, found in facts.items()}
    text = {key[0]: str(c.value) for key, c in best.items() if not key[1]}
    area, notes = _area(facts)
    if ("package_area", "") in best:
        return _stack(name, best, text)
    tpp, tops = _tpp(name, facts)
    io, interconnect = _links(best, text.get("topology", ""))
    if io.high is None and text.get("segment") in SMALL:
        io = replace(
            io, high=SMALL_IO, says=f"not known; below {SMALL_IO} GB/s, as fewer than 64 lanes of PCIe 5 (guess)"
        )
    memory = best.get(("memory_rate", ""))
    dram = _measure(memory, "1e9", facts.get(("memory_rate", ""), [])) if memory else UNKNOWN
    if "SRAM" in text.get("memory_type", ""):
        dram = exactly(Decimal(0), "no DRAM: memory is SRAM on the chip")
    measures = {
        "tpp": tpp, "area_mm2": area, "io_gb_per_s": io, "interconnect_gb_per_s": interconnect, "memory_gb_per_s": dram,
        "tops": tops,
    }  # fmt: skip
    datacenter = {"datacentre": True, "workstation": None}.get(text.get("segment", ""), False)
    if datacenter is None:
        notes += (
            f"{WORKSTATION}: whether it is marketed for data centres too decides; say --datacenter or --no-datacenter",
        )
    market = text.get("market", "")
    sold = None if text.get("country") != "US" or market == "none" else market == ""
    count = int(float(text.get("packages", "1")))
    part = Part(
        name, measures, datacenter, text.get("maker", ""), text.get("country", ""), sold, text.get("released", ""), "chip",
        notes,
    )  # fmt: skip
    return part if count == 1 else _by_package(part, count)


def _by_package(card: Part, count: int) -> Part:
    """Return a card of several packages: the rules speak of an integrated circuit, some read them up to the board."""

    def share(m: Measure) -> Measure:
        high = None if m.high is None else m.high / count
        return Measure(m.low / count, high, f"{m.says}, on {count} packages", m.claims)

    per_package = ("tpp", "area_mm2", "memory_gb_per_s", "tops")
    own = {k: share(m) if k in per_package else m for k, m in card.measures.items()}
    note = f"a card of {count} packages: measured by package, and as a whole as well"
    return replace(
        card,
        measures=own,
        readings=((f"the card as a whole, {count} packages", card.measures),),
        notes=(*card.notes, note),
    )


def _stack(name: str, best: dict[tuple[str, str], Claim], text: dict[str, str]) -> Part:
    """Return a memory stack or chip that is sold as such."""
    area, rate = best["package_area", ""], best["memory_rate", ""]
    measures = {
        "memory_gb_per_s": exactly(decimal(rate, "1e9"), rate.printed, (rate,)),
        "stack_mm2": exactly(decimal(area, "1"), area.printed, (area,)),
    }
    return Part(name, measures, False, text.get("maker", ""), text.get("country", ""), form="memory")


def _measure(claim: Claim, scale: str, rivals: list[Claim]) -> Measure:
    """Return a claim as a quantity, with what losing claims say."""
    value = decimal(claim, scale)
    return Measure(value, value, claim.printed, (claim,), (), _rivals(value, [(decimal(c, scale), c) for c in rivals]))


def _rivals(value: Decimal, others: list[tuple[Decimal, Claim]]) -> tuple[tuple[Decimal, str], ...]:
    found = {v: f"{c.source.id} ({c.source.tier})" for v, c in reversed(others) if v != value}
    return tuple(found.items())


def _tpp(name: str, facts: dict[tuple[str, str], list[Claim]]) -> tuple[Measure, Measure]:
    """Return total processing performance and the largest rate."""
    rates = {
        item: found
        for (fact, item), found in facts.items()
        if fact == "peak" and (item.endswith(("-dense", "-dense-acc16")))
    }
    npu = facts.get(("peak", "npu"), [])
    if not rates and not npu:
        return UNKNOWN, UNKNOWN
    extra = decimal(npu[0], "1e12") * NPU_BITS if npu else Decimal(0)
    values = {item: decimal(found[0], "1e12") * BITS[item.split("-")[0]] for item, found in rates.items()}
    top = max(values, key=lambda i: values[i]) if values else ""
    sourced = [i for i in values if rates[i][0].source.id != "guess" and values[i] * ROUNDED >= values[top]]
    if sourced:  # of rates that differ by rounding, one that a page states
        top = max(sourced, key=lambda i: values[i])
    value = (values[top] if values else Decimal(0)) + extra
    claims = ((rates[top][0],) if values else ()) + ((npu[0],) if npu else ())
    says = f"{rates[top][0].printed} {top} x {BITS[top.split('-')[0]]} bit" if values else ""
    if npu:
        says += f"{' + ' if says else ''}NPU {npu[0].printed} x {NPU_BITS} bit"
    readings = []
    if "tf32-dense" in rates:
        wide = decimal(rates["tf32-dense"][0], "1e12") * TF32_BITS[1] + extra
        if wide > value * ROUNDED:
            readings.append((wide, f"TF32 counted as {TF32_BITS[1]} bits"))
    others = []
    for item, found in rates.items():
        rest = max((v for i, v in values.items() if i != item), default=Decimal(0))
        for claim in found[1:]:
            others.append((max(rest, decimal(claim, "1e12") * BITS[item.split("-")[0]]) + extra, claim))
    tops = max(decimal(found[0], "1e12") for found in (*rates.values(), *([npu] if npu else [])))
    return Measure(value, value, says, claims, tuple(readings), _rivals(value, others)), exactly(tops)


def _area(facts: dict[tuple[str, str], list[Claim]]) -> tuple[Measure, tuple[str, ...]]:
    """Return the die area that counts: none on a planar process."""
    process = facts.get(("process", ""), [None])[0]
    node = re.search(r"(\d+)(?:FFN)?\s*nm|\bN(\d+)|(\d+)FFN|\b(\d+)NP?\b", process.value) if process else None
    size = next((int(g) for g in node.groups() if g), None) if node else None
    if size is not None and size >= PLANAR_NM and process is not None:
        return exactly(Decimal(0), f"planar process ({process.value}): no area counts", (process,)), ()
    found = facts.get(("die_area", ""), [])
    most = facts.get(("die_area_most", ""), [])
    if not found and most:
        return Measure(Decimal(0), decimal(most[0], "1"), f"at most {most[0].printed}", (most[0],)), ()
    notes = () if size is not None or not found else ("process not known; its dies are counted as non-planar",)
    return (_measure(found[0], "1", found) if found else UNKNOWN), notes


def _links(best: dict[tuple[str, str], Claim], topology: str) -> tuple[Measure, Measure]:
    """Return the aggregate transfer rate both ways, and that of links between chips alone."""
    own, host, stated = best.get(("link", "scale-up")), best.get(("link", "host")), best.get(("io", ""))
    link = Decimal(0)
    if own is not None and topology != "none":
        link = 2 * decimal(own, "1e9")
    bus = 2 * decimal(host, "1e9") if host is not None else Decimal(0)
    claims = tuple(c for c in (own if link else None, host) if c is not None)
    says = " + ".join([*([f"links {link:f}"] if link else []), *([f"host bus {bus:f}"] if bus else [])])
    whole = link + bus
    io = Measure(
        whole, whole if host is not None and (link or topology == "none") else OPEN_END, says or "not known", claims
    )
    if stated is not None:
        io = exactly(decimal(stated, "1e9"), stated.printed, (stated,))
    known = link or topology == "none"
    reading = ((whole, "host bus counted as interconnect"),) if bus and known else ()
    between = Measure(link, link if known else OPEN_END, says, claims, reading)
    return io, between


def imagined(
    name: str = "",
    *,
    tpp: object = None,
    die_area: object = None,
    memory_bandwidth: object = None,
    io_bandwidth: object = None,
    stack_area: object = None,
    training_flop: object = None,
    peaks: Mapping[str, object] | None = None,
    datacenter: bool | None = None,
    planar: bool = False,
    maker: str = "",
    sold_in_us: bool | None = None,
) -> Part:
    """Return a part that a user describes, in the units of the rules: TPP, mm2, GB/s; what is None is not known.

    Parameters
    ----------
    tpp, die_area, memory_bandwidth, io_bandwidth, stack_area, training_flop : number, text, or None
        A number as written, `300..400` for an interval, or None for what is not known.
    peaks : format -> TFLOP/s or TOPS, optional
        Dense rates (`fp16`), or rates with sparsity (`fp16-sparse`), from which TPP follows.
    datacenter : bool, optional
        Designed or marketed for data centres.
    planar : bool
        On a planar process: no die area counts.

    Raises
    ------
    CutlineError
        With the argument, the rule and the value: no peak rate at all, an area of zero, a rate that is negative, a
        dense rate above the one with sparsity.
    """
    read = given(
        tpp=tpp, die_area=die_area, memory_bandwidth=memory_bandwidth, io_bandwidth=io_bandwidth, stack_area=stack_area,
        training_flop=training_flop, peaks=peaks, planar=planar,
    )  # fmt: skip
    beside = set(read) - {"training_flop"} if "training_flop" in read else set(read) - {"stack_mm2", "memory_gb_per_s"}
    if beside and ("training_flop" in read or "stack_mm2" in read):
        what = "model weights have no" if "training_flop" in read else "a memory stack has no"
        raise CutlineError(f"{what} {', '.join(QUANTITIES[b].split(',')[0] for b in sorted(beside))}; leave it out")
    kind = "memory stack" if "stack_mm2" in read else "model weights" if "training_flop" in read else "imagined chip"
    name, maker = name or kind, maker_named(maker)
    if "stack_mm2" in read:
        if "memory_gb_per_s" not in read:
            raise CutlineError("a memory stack needs its memory bandwidth as well as its stack area")
        return Part(name, read, False, maker, form="memory")
    if "training_flop" in read:
        return Part(name, read, False, maker, form="weights")
    if "tpp" not in read:
        raise CutlineError(f"{name} has no peak rate: give tpp, or peaks such as fp16=148")
    for key in ("area_mm2", "memory_gb_per_s", "io_gb_per_s"):
        read.setdefault(key, UNKNOWN)
    read.setdefault("tops", _tops_of(read["tpp"]))
    read.setdefault("interconnect_gb_per_s", replace(read["io_gb_per_s"], low=Decimal(0)))
    notes: tuple[str, ...] = ()
    if read["memory_gb_per_s"].exact and 0 < read["memory_gb_per_s"].low < SLOW_GB_PER_S and read["tpp"].low >= 1000:
        notes = (f"memory bandwidth of {read['memory_gb_per_s'].low:f} GB/s: is that TB/s?",)
    if datacenter is None:
        notes += ("whether it is designed or marketed for data centres is not said: --datacenter or --no-datacenter",)
    return Part(name, read, datacenter, maker, "", sold_in_us, notes=notes)


GIVEN = {
    "tpp": "tpp", "die_area": "area_mm2", "memory_bandwidth": "memory_gb_per_s", "io_bandwidth": "io_gb_per_s",
    "stack_area": "stack_mm2", "training_flop": "training_flop",
}  # fmt: skip
"""Arguments of a description and the quantities they give."""
SAID = {
    "die_area": "die area (mm2)",
    "memory_bandwidth": "memory bandwidth (GB/s)",
    "io_bandwidth": "io bandwidth (GB/s)",
    "stack_area": "stack area (mm2)",
}
"""Arguments as messages name them, with their unit."""
SLOW_GB_PER_S = 32
"""A fast part with less memory bandwidth than this is more likely a slip between TB/s and GB/s."""


def given(*, peaks: Mapping[str, object] | None = None, planar: bool = False, **numbers: object) -> dict[str, Measure]:
    """Return the quantities that a description gives; `numbers` are those of `imagined`, None for what it does not say.

    Raises
    ------
    CutlineError
        With the argument, the rule and the value.
    """
    read = {
        GIVEN[k]: interval(v, SAID.get(k, k.replace("_", " ")), above=k.endswith("_area"))
        for k, v in numbers.items()
        if v is not None
    }
    if peaks:
        if "tpp" in read:
            raise CutlineError("give tpp or peaks, not both: tpp follows from peaks")
        read["tpp"], read["tops"] = _from_peaks(peaks)
    if planar:
        if "area_mm2" in read:
            raise CutlineError("give a die area or planar, not both: on a planar process no area counts")
        read["area_mm2"] = exactly(Decimal(0), "planar process: no area counts")
    return read


def _tops_of(tpp: Measure) -> Measure:
    """Return the rate behind a TPP, which lies between that of 64-bit and of 4-bit inputs."""
    return Measure(tpp.low / 64, None if tpp.high is None else tpp.high / 4, "TPP over a bit length between 4 and 64")


def _from_peaks(peaks: Mapping[str, object]) -> tuple[Measure, Measure]:
    """Return TPP and the largest rate of described peaks."""
    dense: dict[str, Decimal] = {}
    sparse: dict[str, Decimal] = {}
    for item, value in peaks.items():
        kind, _, mark = item.partition("-")
        if kind not in BITS or mark not in ("", "dense", "sparse"):
            raise CutlineError(f"peaks: format must be one of {', '.join(BITS)}, -sparse after it if so; got '{item}'")
        (sparse if mark == "sparse" else dense)[kind] = interval(value, f"peak {item}", above=True).low
    for kind, value in sparse.items():
        if kind in dense and value < dense[kind]:
            raise CutlineError(f"peak {kind}-sparse must be at least the dense {dense[kind]:f}; got {value:f}")
        dense.setdefault(kind, value / 2)
    top = max(dense, key=lambda k: dense[k] * BITS[k])
    half = ", half of the rate with sparsity" if top in sparse and sparse[top] / 2 == dense[top] else ""
    value = dense[top] * BITS[top]
    wide = dense.get("tf32", Decimal(0)) * TF32_BITS[1]
    readings = ((wide, f"TF32 counted as {TF32_BITS[1]} bits"),) if wide > value * ROUNDED else ()
    says = f"{dense[top]:f} TFLOP/s {top} x {BITS[top]} bit{half}"
    return Measure(value, value, says, (), readings), exactly(max(dense.values()))


def interval(value: object, name: str, above: bool = False) -> Measure:
    """Read a number, or two joined by `..`, as a quantity.

    Examples
    --------
    >>> interval("4799.99", "tpp").low, interval("300..400", "die area").high
    (Decimal('4799.99'), Decimal('400'))
    """
    ends = [_number(v, name) for v in str(value).split("..")]
    if len(ends) > 2 or ends[0] > ends[-1]:
        raise CutlineError(f"{name} must be a number, or two such as 300..400; got '{value}'")
    if ends[0] < 0 or (above and ends[0] <= 0):
        raise CutlineError(f"{name} must be {'above 0' if above else 'at least 0'}; got '{value}'")
    return Measure(ends[0], ends[-1], "given")


def _number(text: str, name: str) -> Decimal:
    try:
        found = Decimal(text.strip().replace(",", "").replace("_", ""))
    except InvalidOperation:
        raise CutlineError(f"{name} must be a number; got '{text}'") from None
    if not found.is_finite() or found > Decimal("1e30"):
        raise CutlineError(f"{name} must be a finite number; got '{text}'")
    if len(found.normalize().as_tuple().digits) > 15:
        raise CutlineError(f"{name} must have at most 15 digits, so that it is compared exactly; got '{text}'")
    return found

"""Lines and columns on the terminal: at most 100 wide, no boxes, colour only beside words that say as much."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
INDENT = "  "
TIE = "\ue000"
"""Stands for a space at which no line may break until the line is printed; rich breaks at U+00A0."""
UNIT = re.compile(
    r"(?<=\d) (?=(?:%|(?:[kMGTPE]i?)?(?:B|FLOP|OP|b|W|Wh)(?:/s)?(?:/chip)?|[MT]|USD(?:/h)?|s|h|days?"
    r"|tokens(?:/s/chip)?|chip-hours)(?:[\s,;:.)]|$))"
)
"""The space between a number and its unit."""


def console() -> Console:
    """Return the console of stdout: at most `WIDTH` columns wide, just as wide where stdout is a file."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)
    found.width = min(WIDTH, found.width) if found.is_terminal else WIDTH
    return found


def print_json(answer: Any) -> None:
    """Print an answer as JSON; a number that JSON cannot hold is a bug and raises."""
    sys.stdout.write(json.dumps(answer, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def line(text: str = "", style: str = "", hang: int = 0) -> None:
    """Print one indented line, wrapped with `hang` more columns on the lines that follow."""
    out = console()
    wrapped = textwrap.wrap(
        UNIT.sub(TIE, text),
        out.width,
        initial_indent=INDENT,
        subsequent_indent=INDENT + " " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    out.print("\n".join(wrapped).replace(TIE, " "), style=style or None, soft_wrap=True)


def items(lead: str, said: Sequence[str], gap: str = "   ", style: str = "") -> None:
    """Print items after a lead; what does not fit goes on under the first item, no item is torn."""
    out = console()
    start = INDENT + lead
    rows, row = [], start
    for item in said:
        more = row + (gap if row.strip() and row != start else "") + item
        if len(more) > out.width and row.strip() and row != start:
            rows.append(row)
            more = " " * len(start) + item
        row = more
    out.print("\n".join([*rows, row]), style=style or None, soft_wrap=True)


def address(url: str) -> None:
    """Print an address on its own line, whole even where it is too long: a torn one cannot be followed."""
    console().print(INDENT * 2 + url, style="dim", soft_wrap=True)


def ends(left: str, right: str) -> None:
    """Print a line with words at both ends, or two lines where they do not fit."""
    out = console()
    room = out.width - len(INDENT) - len(left) - len(right)
    if room >= 2:
        out.print(INDENT + left + " " * room + right, style="dim", soft_wrap=True)
    else:
        line(left, "dim")
        line(right, "dim")


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print aligned columns; those numbered in `right` are set flush right, the last one wraps."""
    from rich.padding import Padding
    from rich.table import Table

    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, title in enumerate(head):
        last = i == len(head) - 1
        table.add_column(
            title,
            justify="right" if i in right else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in rows:
        table.add_row(*row[:-1], UNIT.sub(TIE, row[-1]))
    out = console()
    with out.capture() as captured:
        out.print(Padding(table, (0, 0, 0, len(INDENT))))
    text = "\n".join(r.rstrip() for r in captured.get().replace(TIE, " ").splitlines())
    sys.stdout.write(text + "\n")


@contextmanager
def progress(label: str) -> Iterator[Callable[..., None]]:
    """Give a function `tick(done, total=None)` that draws a bar on stderr once a second has passed.

    Draws only where stderr is a terminal; the bar goes away when the work is done.
    """
    if not sys.stderr.isatty():
        yield lambda done, total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn(label),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=None)
    later = threading.Timer(1.0, bar.start)
    later.daemon = True
    later.start()
    try:
        yield lambda done, total=None: bar.update(task, completed=done, total=total)
    finally:
        later.cancel()
        later.join()
        if bar.live.is_started:
            bar.stop()

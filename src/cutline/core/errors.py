"""What goes wrong, in one sentence each: argument, element, rule, value, cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CutlineError(ValueError):
    """Any input that Cutline refuses. The command line prints it and exits with code 2."""


class UnknownName(CutlineError):
    """A name that is not in the catalogue; says what comes close."""

    def __init__(
        self, what: str, name: str, known: Iterable[str], cure: str = "", aliases: dict[str, str] | None = None
    ) -> None:
        known = list(known)
        close = suggestions(name, known)
        if not close and aliases:
            close = list(dict.fromkeys(aliases[a] for a in suggestions(name, aliases)))
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        cure = f" {cure} lists all {len(known)}." if cure else ""
        super().__init__(f"no {what} named '{name}'.{hint}{cure}")


class DataError(CutlineError):
    """Bad data in a file; says file and line."""

    def __init__(self, file: str, line: int | None, problem: str) -> None:
        super().__init__(f"{file}:{line}: {problem}" if line else f"{file}: {problem}")


def suggestions(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` of the `known` names that look or start like `name`.

    Examples
    --------
    >>> suggestions("h80", ["H800-SXM-80GB", "H20", "A100-SXM-80GB"])
    ['H800-SXM-80GB', 'H20']
    """
    by_key = {k.casefold(): k for k in known}
    key = name.casefold()
    starts = [k for k in by_key if key and (k.startswith(key) or key in k)]
    close = difflib.get_close_matches(key, by_key, n=most, cutoff=0.5)
    return [by_key[k] for k in dict.fromkeys([*sorted(starts, key=len), *close])][:most]

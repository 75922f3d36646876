"""The command line: reads words, asks `plan`, `law` and `facts`, prints the answer as text or as JSON.

Nothing is computed here. `app` lists the commands; `planning`, `ruling`, `catalogue` and `measuring` hold one function
per command; `inputs` turns words into arguments; `show_*` lay out answers; `words` and `screen` write numbers
and lines. Imports `plan`, `law`, `formats`, `facts` and `core`, all but `core` inside the commands, so that
`cutline --help` loads neither numpy nor scipy. Nothing imports this package.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code.

    0: answered; 1: the answer could not be written; 2: refused; 130: interrupted. One line says why.

    Parameters
    ----------
    arguments : list of str, optional
        Words after `cutline`; those of the process unless given.
    """
    if sys.stdout is None:  # closed by the caller
        return _unwritten("the output is closed")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _drop_output()
        return 0
    except OSError as error:
        if error.filename is not None:  # no output but a file that an argument names
            return _refuse(f"{error.filename}: cannot be opened: {error.strerror}")
        _drop_output()
        return _unwritten(error.strerror or str(error))
    return code


def _run(arguments: list[str] | None) -> int:
    """Run one command; return its exit code. A fault of the output is left to `main`."""
    import typer

    from cutline.cli.app import app
    from cutline.core.errors import CutlineError

    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = typer.main.get_command(app)
    usage: type[Exception] = typer.BadParameter.__mro__[2]  # click's ClickException, vendored or not
    try:
        with command.make_context("cutline", _checked(words)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except CutlineError as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except usage as error:
        return _refuse(_usage(error))
    return 0


ONCE = ("--to",)
"""Options of which the parser must not silently keep the last: whoever names two destinations wants both."""


def _checked(words: list[str]) -> list[str]:
    """Return the words with `-`, the output, after a `--worksheet` that names no file; refuse options given twice."""
    from cutline.core.errors import CutlineError

    found: list[str] = []
    for place, word in enumerate(words):
        name = word.split("=")[0]
        if name in ONCE and name in (w.split("=")[0] for w in found):
            raise CutlineError(f"{name} is given twice; give it once")
        found.append(word)
        if word == "--worksheet" and (place + 1 == len(words) or words[place + 1].startswith("--")):
            found.append("-")
    return found


def _unwritten(why: str) -> int:
    """Say in one line that the answer could not be written; return the exit code of that."""
    print("error: the answer cannot be written:", why, file=sys.stderr)
    return 1


def _drop_output() -> None:
    """Send what is left in the buffer to nowhere, so that Python does not complain again as it leaves."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(message: str) -> int:
    """Print one line on stderr; return the exit code of refused input."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    return 2


def _usage(error: Exception) -> str:
    """Return a usage error as one sentence that names the command whose help has the cure."""
    text = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "cutline")
    return f"{text[:1].lower()}{text[1:]}; `{path} --help` shows how to call it"

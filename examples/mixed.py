"""Which chips do what? Three mixed fleets, as files, planned by the command line.

python examples/mixed.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FLEETS = Path(__file__).parent / "fleets"
CASES = (
    ("A800 bought before the rule of October 2023, H20 bought after it", "llama-65b", "a800_h20.toml"),
    (
        "H800 beside twice as many Ascend 910B2, joined through the memory of their hosts",
        "llama-65b",
        "h800_ascend.toml",
    ),
    ("old V100 servers with new A100", "llama-7b", "v100_a100.toml"),
)


def main() -> None:
    """Plan each fleet; what is printed says which group does what, and why."""
    for words, model, name in CASES:
        print(f"\n{words}: {model} on examples/fleets/{name}", flush=True)
        subprocess.run([sys.executable, "-m", "cutline", "plan", model, "--on", str(FLEETS / name)], check=True)


if __name__ == "__main__":
    main()

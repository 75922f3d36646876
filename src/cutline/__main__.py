"""`python -m cutline` is the command `cutline`."""

import sys

from cutline.cli import main

if __name__ == "__main__":
    sys.exit(main())

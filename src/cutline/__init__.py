"""Cutline: AI under chip limits, from a chip's data sheet to the days of a run."""

from cutline.facts import DATA_VERSION as data_version

__all__ = ["__version__", "data_version"]
__version__ = "0.2.0"

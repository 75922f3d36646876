"""Cutline: AI under chip limits, from a chip's data sheet to what the law allows and what a run takes."""

from cutline.facts import DATA_VERSION as data_version

__all__ = ["__version__", "data_version"]
__version__ = "0.6.0"

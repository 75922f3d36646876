"""Cutline: AI under chip limits, from a chip's data sheet to the days of a run."""

__version__ = "0.1.0"
data_version = "2026-11-21"

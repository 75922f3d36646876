"""The only room that opens data files: reader, sources, and the records Chip, Model, Measurement.

Imports: core. Hands on: records whose every number is a claim with a source.
"""

DATA_VERSION = "2026-11-26"
"""Day up to which the facts were gathered and the constants fitted."""

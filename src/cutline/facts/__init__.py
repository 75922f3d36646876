"""The only room that opens data files: reader, sources, and the records Chip, Model, Measurement, and the dated rows of the export rules.

Imports: core. Hands on: records whose every number is a claim with a source.
"""

DATA_VERSION = "2026-11-26"
"""Day up to which the facts were gathered and the constants fitted."""

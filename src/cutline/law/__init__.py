"""Export rules as code: what a chip meets on a day, who needs a licence for it, and by how much it misses a line.

`measures` turns the facts of a part into the quantities that the rules define, `limits` compares columns of parts with
the limits of a day, `day` picks the rows in force and knows places, `licence` goes from what is met to requirement,
exceptions and review policy, `cases` answers for what is not known, `outcome` has all ways in which an item could turn
out, `working` shows each comparison and step, `verdict` puts it together for one item and through time, `screen` for
many, `line` for the boundary itself, `foundry` for the presumption on fabricators.

Quantities are in the units of the rules (TPP, mm2, GB/s) and exact: decimals as printed, compared without rounding.

Imports: core, facts. Hands on: verdicts as plain data, each with its basis.
"""

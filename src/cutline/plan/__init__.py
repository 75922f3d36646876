"""Strategy (every legal split, as columns), training estimate, search, accuracy -> Estimate, Plan.

Imports: core, facts, physics. Hands on tables with one row per candidate; a single plan is a table with one row.
"""

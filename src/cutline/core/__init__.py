"""Errors, units, columns and checks. Knows nothing of chips.

Imports: the standard library and NumPy. Hands on: `CutlineError` and its kinds, `units.read`,
`Columns`, and the checks that guard every public function.
"""

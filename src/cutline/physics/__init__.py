"""Numbers in, numbers out: operators of a model, kernels, collectives, memory, pipelines, power.

Imports: core. Knows no records, files or names; every argument broadcasts, leading axes belong to the
caller. Hands on functions whose docstrings give shapes, units, limits and source.
"""

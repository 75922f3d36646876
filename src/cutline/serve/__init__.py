"""Serving: how fast, at what cost, on which layout a model answers requests; and how right these answers are.

Imports core, facts, physics and plan (chips in a fleet, prices, power). Hands on predictions of measured rows (`accuracy`), the
best configuration for a load (`run`), and one user's machine (`local`). Columns of candidates come from `columns`; one step of a
server from `step`; a closed loop of clients from `closed`; arrivals at a rate from `cutline.physics.queueing` and `replay`.
"""

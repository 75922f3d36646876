"""The outlook: how far one group of makers is behind another in months, and what chips have to do with it.

`irt` fits abilities of models to benchmark scores, `lag` turns abilities into months, `gap` asks both for groups of models;
`compute` reads training runs, `equivalents` says how many H100 a chip is worth, `supply` draws what arrived in a country,
`sites` adds up what is known to stand there;
`scenario` reads a file of rules, supply and levers, `scenario_run` draws what comes of it, `hindcast` tests one against what came;
`claims` holds what others have said against all of it.

Imports core, facts, physics, law, plan and serve, numpy and scipy. Hands on records with ranges; random numbers come from a seed
that the caller gives. Every value belongs to a vintage of the index, because each vintage revises earlier ones.
"""

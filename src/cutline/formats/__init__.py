"""Files of other programs: read into Cutline's records, or written from its plans.

Imports: everything below (core, facts, physics, law, plan, outlook). Hands on: `huggingface.read_config`,
which makes a `Model` of a `config.json`.
"""

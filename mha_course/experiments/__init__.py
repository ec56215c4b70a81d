"""Experiments whose results the book loads; a module or package each, as on the command line.

- `catalogue` carries one out; `run` keeps and shares its steps; `result` is its file;
  `intervals` and `machine` say how sure, and where; `ranks` whether two things rise together.
- `ledger` holds the verdicts of the book against the results; `sources` names who said what.
- `tiny_transformer`, `ensemble` and `real_models` are what experiments look into.
"""

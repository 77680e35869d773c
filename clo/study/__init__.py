"""A run as a whole, and many of them: what it will cost, what it leaves, and the grid of its kind.

Enters: configurations and finished models. Leaves: plans, results.json, model folders, tables. Never here: formulas of
a loss (``square``), steps of an optimizer (``training``), words of a command line (``commands``).
"""

"""Generation, language fidelity, exact scores, benchmarks and statistics: what a run is measured by.

Enters: a model with its renderer, or answers alone. Leaves: scores with samples, intervals, paired tests. Never here:
training, run folders beyond reading, a judge on a server (``judge``).
"""

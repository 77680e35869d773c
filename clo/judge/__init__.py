"""Win rate of one run against another as a language model judges it: ``python -m clo.judge``."""

"""Win rate of one run against another as a language model on a server sees it.

Enters: the answers of two finished runs. Leaves: verdicts in both orders, a win rate with its interval. Never here:
torch or transformers; the model that judges is somebody's server.
"""

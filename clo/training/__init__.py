"""One or two stages of training, on one device or many, resumable to the bit.

Enters: a tuned model, items, the groups method, optimizer and trainer. Leaves: trained weights, checkpoints,
metrics.jsonl. Never here: rows and texts (``data``), end scores (``study``).
"""

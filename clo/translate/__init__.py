"""English examples become parallel rows, once, and are found again by content.

Enters: English examples and a translator (a model here, or a server). Leaves: a file of parallel rows with a card of
what was left out and why. Never here: training, the square, the model that is to learn.
"""

"""From rows to packed tensors: reading, rendering, splitting, batching.

Enters: files of rows, or CLDR's tables. Leaves: rows, items (token ids of the square), packed batches. Never here: a
model or its weights; a tokenizer comes in from outside.
"""

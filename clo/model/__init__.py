"""A causal language model, loaded as asked, and the choice of what trains in it.

Enters: the groups model and tuning. Leaves: a transformers or PEFT model, its tokenizer, a ledger of what trains. Never
here: the square and its scores, data, Lightning.
"""

"""The run folder and the state of what happens in it: whole files or none, locks, progress.

Enters: text and plain values. Leaves: files that are complete, and what stands in them. Never here: torch,
transformers, or any other room but ``errors``.
"""

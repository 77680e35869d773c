"""The study of mixtures in a report: what rows of other languages buy, after the Post-trainer's Guide (2504.16677)."""

"""The report of a study: reads run folders, writes tables, figures and pages.

Enters: results.json, metrics.jsonl and samples.jsonl of finished runs. Leaves: CSV, Markdown, LaTeX, figures, pages.
Never here: torch or transformers, so a report can be made on any machine that holds the run folders.
"""

"""The report of a study: reads run folders, writes tables, figures and one self-contained page.

``collect`` reads, ``tables`` computes and formats, ``figures`` draws, ``answers`` and ``html`` make the page.
Nothing here imports torch, so a report can be made on any machine that holds the run folders.
"""

"""What a person types: one file per command, and nothing else.

Enters: the words of the command line. Leaves: printed text and an exit code. Never here: work of any kind, and no
heavy import at the top of a file, so that ``--help`` and a wrong word are answered at once.
"""

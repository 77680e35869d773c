"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake of the user, told in one sentence: what is wrong, where, and how to mend it.

    The command line prints it as ``error: …`` with exit code 1 and without a traceback.
    """

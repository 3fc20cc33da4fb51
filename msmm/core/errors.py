"""The one exception that people are meant to read."""


class UserError(Exception):
    """Something the user can put right.

    The message is one line: what was expected, what came, and what to do. Doors print
    it without a traceback and exit with status 2.
    """

"""The exceptions whose message is for users."""


class UserError(Exception):
    """A mistake that the user can correct.

    The message is one line: what was expected, what was received, and what to do. Commands print it without a
    traceback and exit with status 2.
    """


class DirectoryInUse(UserError):
    """Another process has locked a directory."""

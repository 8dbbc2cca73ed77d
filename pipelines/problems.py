"""Problems that a user can mend: the message says what, where, and the next step."""


class Problem(Exception):
    """A known problem; the command line prints its message and ends with exit code 2."""

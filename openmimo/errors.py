"""The one error a user may see: what is wrong, where, and what to do. The command line prints it and exits with 2."""


class UserError(ValueError):
    """Bad input. `str(error)` is one line that names the file or key, the problem and the remedy."""

"""The two errors that a command reports as one line with an exit code."""


class InputError(ValueError):
    """Unusable input: exit code 2. The message names the input, the rule and the remedy."""


class RunError(RuntimeError):
    """Failure of a run: exit code 1. The message says what has been saved and how to resume."""

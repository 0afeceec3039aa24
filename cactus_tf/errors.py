"""The two ways a run can end early; the commands turn each into one line and an exit code."""


class InputError(ValueError):
    """What the user gave cannot be used: exit code 2. The message names the thing, the rule and the remedy."""


class RunError(RuntimeError):
    """Something failed while running: exit code 1. The message says what is kept and how to go on."""

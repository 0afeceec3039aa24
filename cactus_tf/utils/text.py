"""Text that fits its place."""


def shortened(name: str, letters: int) -> str:
    """The name without its middle if it has more letters; what distinguishes names is often at their end."""
    head, tail = letters // 2 - 1, letters - letters // 2
    return name if len(name) <= letters else f"{name[:head]}…{name[-tail:]}"

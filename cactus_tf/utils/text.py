"""Text that fits its place."""

import unicodedata


def printable(text: str) -> str:
    """The text on one line that no terminal obeys: control characters and bytes outside UTF-8 as escapes."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    unprintable = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return character.encode("unicode_escape").decode() if unprintable else character


def shortened(name: str, letters: int) -> str:
    """The name without its middle if it has more letters; what distinguishes names is often at their end."""
    head, tail = letters // 2 - 1, letters - letters // 2
    return name if len(name) <= letters else f"{name[:head]}…{name[-tail:]}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def duration(seconds: float) -> str:
    """Seconds in words: 40 s, 12 min, 3 h 20 min, 6 days."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / 3600:.0f} h" if hours < 48 else f"{seconds / 86400:.0f} days"

"""Files and folders that operating systems, network drives and programs leave beside people's own."""

from __future__ import annotations

import re

_FOLDERS = {
    "@eadir", "#recycle", "#snapshot", "@sharesnap", "@tmp",  # Synology
    "@recycle", "@recently-snapshot", "@transcode", "@__thumb",  # QNAP
    "__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder",  # macOS
    "$recycle.bin", "system volume information", "$extend", "$windows.~bt", "$winreagent",  # Windows
    "lost+found", "lost.dir", "~snapshot",  # Linux, Android, NetApp
    "__pycache__", "ipynb_checkpoints",  # Python, Jupyter
}  # fmt: skip
_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"}
_ENDINGS = ("@synoeastream", "@synoresource")  # what Synology stores about a file
_PATTERN = re.compile(r"found\.\d{3}")  # what a check of a Windows disk recovers
_UPPER = {"RECYCLER"}  # Windows XP; in lower case it may be a class


def is_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by a system and not by the user."""
    folded = name.lower()
    return (
        name.startswith((".", "~$"))
        or folded in _FOLDERS
        or folded in _FILES
        or folded.endswith(_ENDINGS)
        or name in _UPPER
        or _PATTERN.fullmatch(folded) is not None
    )


def kind(name: str) -> str:
    """How a summary calls it; the companions ._NAME that macOS adds to every file are one kind."""
    return "._*" if name.startswith("._") else name

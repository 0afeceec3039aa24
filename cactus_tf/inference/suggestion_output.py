"""Writes suggestions: suggestions.csv, duplicates.csv and a folder of links, and the list for the terminal."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cactus_tf import datasets
from cactus_tf.config import keys
from cactus_tf.errors import InputError
from cactus_tf.inference.suggestions import Suggestions
from cactus_tf.utils import files
from cactus_tf.utils.paths import given_name, identity

log = logging.getLogger(__name__)

_ROWS, _DUPLICATES, _LINKS, _SOURCE = "suggestions.csv", "duplicates.csv", "to_label", "suggestions.json"
_LISTED = 10  # groups of near-duplicates that the summary names
_NAMED = 3  # pictures of a group that it names


def choose_folder(run: str | Path, data_dir: str | Path, out: str | None = None) -> Path:
    """`out`, or suggestions/RUN/FOLDER; where that has suggestions of other pictures or another run, with a key.

    Raises:
      InputError: it lies in the folder of the pictures, which would then hold the links as well.
    """
    places = {"run": identity(run), "data_dir": identity(data_dir)}
    data = Path(places["data_dir"])
    name = given_name(data_dir) if data.is_dir() else Path(given_name(data_dir)).stem
    folder = Path(out) if out else Path("suggestions") / given_name(run) / (name or "pictures")
    if data.is_dir() and folder.resolve().is_relative_to(data):
        raise InputError(f"--out: {folder} lies in --data_dir, and links in it would count as pictures: name another")
    saved = files.read_json_if_whole(folder / _SOURCE, dict, {})
    if out or not saved or places.items() <= saved.items():
        return folder
    return folder.with_name(f"{folder.name}-{keys.digest(places)[:6]}")


def write(suggestions: Suggestions, out: Path) -> list[Path]:
    """Writes suggestions.csv, duplicates.csv if there are any, and links to the pictures to label; returns their paths.

    Links and files of an earlier command in the same folder are replaced. suggestions.json says what the suggestions
    were made from.
    """
    files.make_folder(out, "--out")
    _remove_earlier(out)
    paths = [out / _ROWS, out / _LINKS]
    links = _link(suggestions, paths[1])
    files.write_json(out / _SOURCE, {**suggestions.source, "links": links})
    _write_rows(suggestions, links, paths[0])
    if suggestions.duplicates:
        paths.append(out / _DUPLICATES)
        _write_duplicates(suggestions, paths[-1])
    return paths


def _remove_earlier(out: Path) -> None:
    """Removes what an earlier command wrote, and nothing else."""
    links = files.read_json_if_whole(out / _SOURCE, dict, {}).get("links")
    for name in links if isinstance(links, list) else []:
        files.remove(out / _LINKS / Path(str(name)).name)
    for name in (_DUPLICATES, "duplicates.png"):
        files.remove(out / name)


def _link(suggestions: Suggestions, folder: Path) -> list[str]:
    """Links to the suggested pictures, named by rank; copies of pictures in an archive, or where links are refused."""
    files.make_folder(folder, "--out")
    names = [str(suggestions.files[one.picture]) for one in suggestions.suggested]
    digits = len(str(len(names)))
    links, copied = [], 0
    with tempfile.TemporaryDirectory(prefix="cactus_tf-", ignore_cleanup_errors=True) as unpacked:
        place = suggestions.source["data_dir"]
        for rank, path in enumerate(datasets.originals("--data_dir", place, names, Path(unpacked)), 1):
            link = folder / f"{rank:0{digits}}-{path.name}"
            files.remove(link)
            copied += not _linked(path, link, archived=path.is_relative_to(unpacked))
            links.append(link.name)
    if copied:
        log.info("%d pictures are copied to %s: links to them are not possible", copied, folder)
    return links


def _linked(path: Path, link: Path, archived: bool) -> bool:
    """Whether a link could be made; otherwise it is a copy."""
    if not archived:
        try:
            link.symlink_to(path.resolve())
            return True
        except OSError:  # as on Windows without the privilege, and on file systems without links
            pass
    shutil.copyfile(path, link)
    return False


def _write_rows(suggestions: Suggestions, links: Sequence[str], path: Path) -> None:
    """A row per picture to label, in the order to label them."""
    rows = [
        [rank, suggestions.files[one.picture], one.pictures, f"{one.typicality:.4f}", f"{_LINKS}/{link}"]
        for rank, (one, link) in enumerate(zip(suggestions.suggested, links, strict=True), 1)
    ]
    files.write_table(path, [["rank", "file", "cluster_pictures", "typicality", "link"], *rows])


def _write_duplicates(suggestions: Suggestions, path: Path) -> None:
    """A row per picture that has a near-duplicate: its group, and its cosine with the group's first picture."""
    rows = [
        [number, suggestions.files[i], f"{cosine:.4f}"]
        for number, (group, cosines) in enumerate(zip(suggestions.duplicates, suggestions.cosines, strict=True), 1)
        for i, cosine in zip(group, cosines, strict=True)
    ]
    files.write_table(path, [["group", "file", "cosine"], *rows])


def summary(suggestions: Suggestions) -> str:
    """The pictures to label first, and the largest groups of near-duplicates."""
    number, names = len(suggestions.suggested), suggestions.files
    lines = [
        f"label first ({number:,} of {len(names):,} pictures, one per cluster)",
        f"{'rank':>6}{'cluster size':>14}  file",
    ]
    for rank, one in enumerate(suggestions.suggested, 1):
        lines.append(f"{rank:>6,}{one.pictures:>14,}  {names[one.picture]}")
    return "\n".join([*lines, "", *_near_duplicates(suggestions)])


def _near_duplicates(suggestions: Suggestions) -> list[str]:
    groups = suggestions.duplicates
    if not groups:
        return ["no near-duplicates"]
    number = f"{len(groups):,} groups" if len(groups) > 1 else "one group"
    lines = [f"near-duplicates: {sum(map(len, groups)):,} pictures in {number}"]
    for group in groups[:_LISTED]:
        more = f" and {len(group) - _NAMED:,} more" if len(group) > _NAMED else ""
        lines.append(f"  {', '.join(suggestions.files[group[:_NAMED]])}{more}")
    return [*lines, *([f"  and {len(groups) - _LISTED:,} more groups"] if len(groups) > _LISTED else [])]

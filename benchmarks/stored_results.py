"""Stores small result files in docs/results, and writes the tables in docs/*.md that are made from them.

    python benchmarks/stored_results.py store RUN NAME   # RUN/results.json without folders -> docs/results/NAME.json
    python benchmarks/stored_results.py tables           # from "<!-- results: NAME ... -->" to "<!-- end -->"

Files of runs make one table, as `python -m cactus_tf.table` prints it. Files that benchmarks write with `--out` hold a
head and lines; several of them make a table of all their lines. "<!-- flagfiles: PREFIX ... -->" lists flagfiles with a
published row that was not measured at full length, and what their headers say.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from cactus_tf.report import comparison
from cactus_tf.utils import sealed

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"
PLACES = re.compile(r"(.*_)?(dir|file|weights|run)|workdir|plugins")
"""Names of settings that say where files lie, which differs from machine to machine."""
MARKED = re.compile(r"<!-- (results|flagfiles): ([\w -]+) -->\n.*?<!-- end -->", re.DOTALL)
REMEDY = "make it again"


def store(run: Path, name: str) -> None:
    """Stores what a run's results.json says, without its folders."""
    content = sealed.read(run / "results.json", REMEDY)
    sealed.write(RESULTS / f"{name}.json", without_folders(content))


def without_folders(value: Any) -> Any:
    """The value without settings that name folders."""
    if isinstance(value, dict):
        places = {k for k, v in value.items() if PLACES.fullmatch(k) and not isinstance(v, dict)}
        return {k: without_folders(v) for k, v in value.items() if k not in places}
    return [without_folders(v) for v in value] if isinstance(value, list) else value


def table(names: list[str]) -> str:
    """The Markdown table of these files."""
    files = [sealed.read(RESULTS / f"{name}.json", REMEDY) for name in names]
    if all("head" in file for file in files):
        lines = [files[0]["head"], ["---"] * len(files[0]["head"]), *(line for file in files for line in file["lines"])]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
    rows = [row for name in names for row in comparison.read_rows(RESULTS / f"{name}.json")]
    return comparison.markdown(comparison.compare(rows))


def flagfiles(prefixes: list[str]) -> str:
    """The Markdown table of the flagfiles of published rows whose names begin so, but for rows that were measured."""
    lines = ["| `flags/` | row | paper | time |", "|---|---|---|---|"]
    for path in sorted((ROOT / "flags").glob("*.txt")):
        header = re.sub(r"\n#  +", " ", path.read_text(encoding="utf-8"))
        about = dict(re.findall(r"^# (\w+): (.*)$", header, re.MULTILINE))
        figures = re.search(r"at \(way, shot\) (.*?)\.?$", about["Expected"])
        published = figures and "no published" not in about["Expected"]
        if published and "Measured" not in about and path.name.startswith(tuple(prefixes)):
            row, time = about["Experiment"].rsplit(",", 1)[0], re.split(r" \(| on |;", about["Time"])[0]
            lines.append(f"| `{path.stem}` | {row} | {figures[1]} | {time} |")
    return "\n".join(lines) + "\n"


def with_tables(text: str) -> str:
    """The text of a page with its tables made anew."""

    def made(match: re.Match) -> str:
        make = table if match[1] == "results" else flagfiles
        return f"<!-- {match[1]}: {match[2]} -->\n\n{make(match[2].split())}\n<!-- end -->"

    return MARKED.sub(made, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    storing = commands.add_parser("store", help="store the results of a run")
    storing.add_argument("run", type=Path)
    storing.add_argument("name")
    commands.add_parser("tables", help="write the tables of the docs")
    args = parser.parse_args()
    if args.command == "store":
        store(args.run, args.name)
        print(f"stored {RESULTS / args.name}.json")
        return 0
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        page.write_text(with_tables(text), encoding="utf-8")
        print(f"{page.name}: {len(MARKED.findall(text))} tables")
    return 0


if __name__ == "__main__":
    sys.exit(main())

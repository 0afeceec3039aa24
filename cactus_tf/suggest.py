"""Which pictures to label first: `python -m cactus_tf.suggest --run=RUN --data_dir=DIR`."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from cactus_tf.config.command_flags import Default, Rules, read_settings
from cactus_tf.config.commands import add_plugins, guarded, loading, run_process, start_logging

DEFAULTS: dict[str, Default] = {
    **dict.fromkeys(("run", "data_dir", "out", "plugins")),
    **{"number": 20, "duplicates": float},
    **dict.fromkeys(("quiet", "debug"), False),
}
_GIVEN = ("run", "data_dir")
_RULES = Rules(needed=_GIVEN, paths=(*_GIVEN, "out", "plugins"), existing=_GIVEN)
HELP = """python -m cactus_tf.suggest --run=RUN --data_dir=DIR [--flag=value ...]

Suggests which pictures to label first, and finds near-duplicates, by the embeddings of a run. Needs no labels.
  --run: folder of a run, as printed by python -m cactus_tf.main
  --data_dir: folder or zip archive of pictures; those that the run was trained on are not embedded again
  --number: pictures to suggest: the most typical one of as many clusters, the largest cluster first; default: 20
  --duplicates: cosine of the embeddings from which on two pictures are near-duplicates; default: 0.95 if the run
    centers embeddings, as --embedder=pretrained does; otherwise only pictures of almost the same pixels are found
  --plugins: folder with the plug-ins of the run, if it has any; their code runs
  --out: folder for suggestions.csv, suggestions.png, links to the pictures (to_label), duplicates.csv and
    duplicates.png; default: suggestions/RUN/DIR
  --quiet: print errors only
  --debug: show tracebacks"""


def main(argv: list[str] | None = None) -> int:
    """Suggests pictures; returns the exit code."""
    return guarded(suggest, sys.argv[1:] if argv is None else argv, lambda topic: HELP)


def suggest(argv: Sequence[str]) -> None:
    """Chooses the pictures, writes the files and prints the list."""
    settings = read_settings(argv, DEFAULTS, "name a run and a folder of pictures", _RULES)
    with loading(argv):
        from cactus_tf.inference import suggestion_output, suggestions
        from cactus_tf.report import suggestion_sheets
    start_logging(settings["quiet"], settings["debug"])
    add_plugins(settings["plugins"], argv)
    out = suggestion_output.choose_folder(settings["run"], settings["data_dir"], settings["out"])
    suggested = suggestions.suggest(**{name: settings[name] for name in ("run", "data_dir", "number", "duplicates")})
    paths = [*suggestion_output.write(suggested, out), *suggestion_sheets.write(suggested, out)]
    if not settings["quiet"]:
        written = [f"written  {path}" for path in paths]
        sys.stdout.write("\n".join(["", suggestion_output.summary(suggested), "", *written, ""]))


def command() -> NoReturn:
    """The command `cactus-tf-suggest`."""
    run_process(main)


if __name__ == "__main__":
    command()

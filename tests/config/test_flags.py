import dataclasses
import logging

import pytest

from cactus_tf import main
from cactus_tf.config import commands, flags
from cactus_tf.config.help import help_text
from cactus_tf.errors import InputError, RunError


def ending(capsys, argv, command=lambda config: None):
    """Exit code, standard output and standard error of a command line."""
    code = main.run(command, argv)
    return code, *capsys.readouterr()


def test_every_field_of_every_settings_class_is_a_flag_with_help():
    text = " ".join(help_text("full").split())
    for section in flags.SECTIONS:
        for field in dataclasses.fields(section):
            assert f"--{field.name} {field.metadata['meaning']}" in text
    for _, name, options in flags.all_options():
        for field in dataclasses.fields(options):
            assert f"--{name}_{field.name} {field.metadata['meaning']}" in text


def test_no_two_flags_share_a_name():
    names = [field.name for section in flags.SECTIONS for field in dataclasses.fields(section)]
    names += [f"{name}_{f.name}" for _, name, options in flags.all_options() for f in dataclasses.fields(options)]
    assert len(set(names)) == len(names)


def test_flags_reach_the_configuration():
    config = flags.parse(["--dataset=omniglot", "--way=7", "--eval_ways=5,7", "--algo=protonets", "--quiet"])
    assert config.data.dataset == "omniglot"
    assert config.learners["protonets"].way == 7
    assert config.evaluation.eval_ways == (5, 7)
    assert config.run.algo == ("protonets",)
    assert config.run.quiet


def test_a_members_own_flag_reaches_its_options():
    config = flags.parse(["--nearest_neighbours_k=3"])
    assert config.options["nearest_neighbours"].k == 3


def test_embedder_steps_are_resolved_and_left_out_if_nothing_is_trained():
    assert flags.parse(["--embedder=acai"]).embedding.embedder_steps == 262_144
    assert flags.parse(["--embedder=acai", "--embedder_steps=7"]).embedding.embedder_steps == 7
    assert flags.parse(["--embedder=pixels", "--embedder_steps=7"]).embedding.embedder_steps is None


def test_a_learner_given_twice_counts_once():
    assert flags.parse(["--algo=protonets,protonets"]).run.algo == ("protonets",)


def test_a_later_flag_wins_over_a_flagfile_and_a_flagfile_over_an_earlier_flag(tmp_path):
    (tmp_path / "f.txt").write_text("# a comment\n--way=8\n--shot=2\n")
    config = flags.parse(["--way=6", f"--flagfile={tmp_path}/f.txt", "--shot=3"])
    assert (config.learners["protonets"].way, config.learners["protonets"].shot) == (8, 3)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--dataset=omniglott"], "--dataset=omniglott: unknown dataset; did you mean omniglot? choose from celeba, "),
        (["--embedder=umap"], "--embedder=umap: unknown embedder; choose from acai"),
        (["--partitioner=x"], "--partitioner=x: unknown partitioner; choose from"),
        (
            ["--algo=protonets,x"],
            "--algo=x: unknown algo; choose from anil, cluster_colour, cluster_matching",
        ),
        (["--backbone=x"], "--backbone=x: unknown backbone; choose from conv4, linear, mlp, resnet"),
        (["--norm=x"], "--norm=x: unknown norm; choose from running, batch, layer, none"),
        (["--stage=x"], "--stage=x: unknown stage; choose from all, prepare"),
        (["--eval_split=x"], "--eval_split=x: unknown eval_split; choose from test, val, train"),
        (["--embeder=acai"], "--embeder: unknown flag; did you mean --embedder?"),
        (["--zzzz"], "--zzzz: unknown flag; see --help"),
        (["--way=five"], "--way=five: it must be a whole number"),
        (["--outer_lr=fast"], "--outer_lr=fast: it must be a number"),
        (["--outer_lr=inf"], "--outer_lr=inf: it must be at least 0 and finite"),
        (["--quiet=maybe"], "--quiet=maybe: it must be true or false"),
        (["--way=0"], "--way=0: it must be at least 2"),
        (["--seed=-1"], "--seed=-1: it must be at least 0"),
        (["--partitions=0"], "--partitions=0: it must be at least 1"),
        (["--supervised_fraction=1.5"], "--supervised_fraction=1.5: it must be at least 0 and at most 1"),
        (["--eval_ways=5,x"], "--eval_ways=5,x: every entry must be a whole number"),
        (["--eval_ways="], "--eval_ways is empty"),
        (["--eval_ways=5,1"], "--eval_ways=1: it must be at least 2"),
        (["--way=20", "--clusters=10"], "--way=20 is more than --clusters=10"),
        (["omniglot"], "unexpected argument 'omniglot'; flags look like --name=value"),
        (["--flagfile=nowhere.txt"], "nowhere.txt"),
        (
            ["--algo=maml", "--way=5", "--eval_ways=5,20"],
            "--eval_ways=20 is more than --way=5: maml has a fixed head",
        ),
        (["--algo=maml", "--way=5"], "--eval_ways=10 is more than --way=5"),
        (["--algo=maml", "--on_embeddings", "--backbone=conv4"], "--on_embeddings: conv4 takes images"),
        (["--on_embeddings", "--precision=mixed_bfloat16"], "--precision=mixed_bfloat16: mlp computes in float32 only"),
        (["--algo=protonets", "--nearest_neighbours_k=3"], "--nearest_neighbours_k is a setting of nearest_neighbours"),
        (["--maml_inner_lr=0.1"], "--maml_inner_lr is a setting of maml, which this run does not use"),
        (
            ["--mlp_dropout_legacy_leak"],
            "--mlp_dropout_legacy_leak is a setting of mlp_dropout, which this run does not use",
        ),
        (["--hyperplanes_margin=1"], "--hyperplanes_margin is a setting of hyperplanes, which this run does not use"),
        (["--nearest_neighbours_k=0"], "--nearest_neighbours_k=0: it must be at least 1"),
    ],
)
def test_bad_flags_end_with_code_2_and_one_line_that_names_the_flag(capsys, argv, words):
    code, out, err = ending(capsys, argv)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("bad thing:\n say less"), 2, "bad thing: say less"),
        (RunError("went wrong"), 1, "went wrong"),
        (OSError(28, "No space left on device", "runs/x"), 1, "runs/x: No space left on device"),
        (KeyboardInterrupt(), 130, "rerun the command to resume"),
        (ValueError("{{node x}} Error in MapDataset: RunError: a.jpg is empty\nTraceback"), 1, "a.jpg is empty"),
        (ZeroDivisionError("first\nsecond"), 1, "ZeroDivisionError: first (--debug prints the traceback)"),
    ],
)
def test_every_failure_is_one_line_with_its_exit_code(capsys, error, code, words):
    def command(config):
        raise error

    ended, _, err = ending(capsys, [], command)
    assert ended == code
    assert words in err
    assert "{{node" not in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(capsys):
    def command(config):
        raise RunError("went wrong")

    _, _, err = ending(capsys, ["--debug"], command)
    assert "Traceback" in err


def test_help_ends_with_code_0(capsys):
    code, out, _ = ending(capsys, ["--help"])
    assert code == 0
    assert "--eval_episodes" in out


def test_help_shows_the_25_flags_that_people_use_first_and_no_setting_of_a_member():
    text = help_text()
    assert [line for line in text.splitlines() if line.startswith("  --acai")] == []
    assert sum(line.startswith("  --") and not line.startswith("  --help") for line in text.splitlines()) == 25


def test_help_of_a_member_shows_its_settings_with_their_defaults(capsys):
    code, out, _ = ending(capsys, ["--help=maml"])
    assert code == 0
    assert "--maml_inner_lr" in out
    assert "default: 0.05" in out
    assert ending(capsys, ["--help=nobody"])[0] == 2


def test_help_shows_defaults_as_numbers_by_data_set():
    assert "25 (digits); 500 (omniglot, miniimagenet, celeba)" in " ".join(help_text().split())


@pytest.mark.parametrize(
    ("settings", "messages"),
    [({}, ["info"]), ({"quiet": True}, []), ({"debug": True}, ["detail", "info"])],
    ids=["usual", "quiet", "debug"],
)
def test_quiet_and_debug_choose_which_messages_go_to_standard_output(settings, messages, capsys):
    logger = logging.getLogger("cactus_tf")
    before = logger.handlers, logger.propagate, logger.level
    try:
        commands.start_logging(**settings)
        logger.debug("detail")
        logger.info("info")
    finally:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])
    assert capsys.readouterr() == ("".join(f"{word}\n" for word in messages), "")

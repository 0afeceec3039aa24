import dataclasses

import pytest

from cactus_tf.config import build_plan, flags, keys
from cactus_tf.config import schema as c


def identity(*argv):
    return build_plan.make(flags.parse(["--algo=protonets,maml", "--eval_ways=5", *argv])).identity


@pytest.mark.parametrize(
    "argv",
    [
        ["--steps=7"],
        ["--eval_ways=3", "--eval_shots=2"],
        ["--stage=train", "--quiet", "--debug", "--workdir=elsewhere"],
    ],
    ids=["length", "evaluation", "stage and display"],
)
def test_lengths_evaluation_stage_and_display_do_not_change_the_identity(argv):
    assert identity(*argv) == identity()


@pytest.mark.parametrize(
    "flag", ["--way=9", "--shot=9", "--query=9", "--filters=9", "--tasks_per_step=9", "--outer_lr=9"]
)
def test_settings_that_change_the_training_change_the_identity(flag):
    assert identity(flag) != identity()


def test_the_length_counts_only_where_every_step_depends_on_it():
    cosine = ["--outer_schedule=cosine"]
    assert identity("--steps=7", *cosine) != identity("--steps=8", *cosine)
    assert identity("--steps=7", "--select=pseudo") != identity("--steps=8", "--select=pseudo")
    assert identity("--steps=7", "--outer_warmup=3") == identity("--steps=8", "--outer_warmup=3")


def test_schedules_at_their_defaults_change_no_key():
    assert identity("--outer_schedule=constant", "--outer_warmup=0", "--select=last") == identity()
    assert identity("--outer_warmup=3") != identity()


def test_settings_of_evaluation_may_change_within_a_run_but_not_those_of_training():
    free = ["--maml_transductive=false", "--maml_eval_steps=3", "--maml_recompute", "--maml_vectorized"]
    assert identity(*free) == identity()
    assert identity("--maml_inner_lr=0.1") != identity()
    assert identity("--maml_inner_steps=1") != identity()


def test_the_keys_of_the_last_release_are_still_the_same():
    """Hashed by release 0.1.0: artifacts of that release are found again."""
    plan = build_plan.make(flags.parse(["--query=15"]))  # its default then
    assert plan.name == "digits-pixels-kmeans-protonets+nearest_neighbours-7ba034"
    assert keys.digest(plan.data.key) == "c7d8bf505f"
    acai = build_plan.make(
        flags.parse(["--embedder=acai", "--acai_depth=1", "--acai_latent=1", "--acai_batch=8", "--embedder_steps=3"])
    )
    assert keys.digest(acai.embedding.key) == "54bdeef431"
    assert keys.digest(acai.embedding.embeddings_key) == "54bdeef431"


def test_a_digest_changes_exactly_when_a_setting_does():
    assert keys.digest({"a": 1, "b": 2}) == keys.digest({"b": 2, "a": 1})
    assert keys.digest({"a": 1}) != keys.digest({"a": 2})


@dataclasses.dataclass(frozen=True)
class Old:
    k: int = c.option(1, "as released")


@dataclasses.dataclass(frozen=True)
class New(Old):
    later: int = c.option(7, "a setting that a later release adds")


def test_a_new_setting_with_its_default_changes_no_key_and_another_value_does():
    old, new = (keys.relevant("nearest_neighbours", options) for options in (Old(), New()))
    assert old == new == {"k": 1}
    assert keys.relevant("nearest_neighbours", New(later=8)) == {"k": 1, "later": 8}


def test_only_the_fields_that_choose_a_network_remain():
    training = c.TrainingSettings("mlp", 3, "layer", True, 5, 1, 2, 9, 1, 1.0)
    assert c.network_only(training) == c.TrainingSettings("mlp", 3, "layer", True)


def test_a_saved_section_that_lacks_a_setting_has_its_default_and_an_unknown_one_is_named():
    assert c.from_saved(New, {"k": 3}) == New(k=3)
    with pytest.raises(c.InputError, match="unknown setting wings"):
        c.from_saved(New, {"k": 3, "wings": 2})

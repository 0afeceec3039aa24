import dataclasses

import pytest

from cactus_tf.config import schema as c
from cactus_tf.config.plan import resolve

DEFAULTS = {"protonets": c.TrainingSettings(filters=64, query=15)}


def test_lengths_evaluation_stage_and_display_leave_the_identity_alone():
    config = resolve(c.Said(), {}, DEFAULTS)
    longer = dataclasses.replace(config.learners["protonets"], steps=7)
    changed = dataclasses.replace(
        config,
        learners={"protonets": longer},
        evaluation=c.EvaluationSettings((3,), (2,), 1, 10, "val"),
        run=c.RunSettings(stage="train", quiet=True, debug=True, workdir="elsewhere"),
    )
    assert c.identity(config) == c.identity(changed)


@pytest.mark.parametrize("field", ["way", "shot", "query", "filters", "tasks_per_step", "outer_lr"])
def test_settings_that_change_the_training_change_the_identity(field):
    config = resolve(c.Said(), {}, DEFAULTS)
    other = dataclasses.replace(config.learners["protonets"], **{field: 99})
    assert c.identity(config) != c.identity(dataclasses.replace(config, learners={"protonets": other}))


def test_a_run_may_be_judged_anew_with_other_settings_of_judging_but_not_of_training():
    from cactus_tf.learners.maml import Options

    def identity(**options):
        return c.identity(resolve(c.Said(), {"maml": Options(**options)}, {"maml": DEFAULTS["protonets"]}))

    assert identity(transductive=False, eval_steps=3, recompute=True, vectorized=True) == identity()
    assert identity(inner_lr=0.1) != identity()
    assert identity(inner_steps=1) != identity()


def test_of_the_settings_of_training_a_network_takes_those_that_say_which():
    training = c.TrainingSettings(
        "mlp", 3, "layer", True, way=5, shot=1, query=2, steps=9, tasks_per_step=1, outer_lr=1.0
    )
    assert c.network_only(training) == c.TrainingSettings("mlp", 3, "layer", True)

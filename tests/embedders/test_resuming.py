"""With one thread of each kind a fit that was stopped ends in the very bits of one that was not."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, keras, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from cactus_tf import embedders
from cactus_tf.embedders._base.fitting import state

folder, name, side, stop, settings = sys.argv[1:3] + [json.loads(part) for part in sys.argv[3:]]

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == stop:
            raise KeyboardInterrupt

images = np.random.default_rng(0).integers(0, 256, (60, side, side, 1), np.uint8)
build = lambda: embedders.build(name, **settings)
try:
    build().fit(images, folder=folder, callbacks=[Stop()])
    raise SystemExit("it was not stopped")
except KeyboardInterrupt:
    pass
resumed, whole = build().fit(images, folder=folder), build().fit(images)
for a, b in zip(state(resumed.model), state(whole.model), strict=True):
    assert a.numpy().tobytes() == b.numpy().tobytes(), a.path
assert resumed.transform(images).tobytes() == whole.transform(images).tobytes()
"""

BIGAN = {"steps": 6, "units": 16, "filters": 4, "batch": 8, "deploy_batches": 3}
CASES = {
    "acai": ("acai", 16, 3, {"steps": 6, "depth": 4, "batch": 8}),
    "bigan, mlp": ("bigan", 16, 3, {**BIGAN, "network": "mlp"}),
    "bigan, conv": ("bigan", 16, 3, {**BIGAN, "network": "conv"}),
    "infogan": ("infogan", 28, 4, {"steps": 10, "depth": 4, "batch": 16}),
    "deepcluster within an epoch": ("deepcluster", 16, 9, {"steps": 16, "batch": 8, "clusters": 6, "dims": 16}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_stopped_fit_ends_as_one_that_was_not(case, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    name, side, stop, settings = CASES[case]
    arguments = [str(tmp_path), name, str(side), str(stop), json.dumps(settings)]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True)

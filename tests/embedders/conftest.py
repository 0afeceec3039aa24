import keras
import pytest


class StopAt(keras.callbacks.Callback):
    """A Ctrl-C after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.steps:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def stop_at():
    """A function from a number of steps to a callback that ends a fit after them."""
    return StopAt

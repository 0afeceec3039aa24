import pytest

from cactus_tf.utils.machine import ONEDNN, machine
from cactus_tf.utils.threads import cores


def test_the_machine_is_described():
    found = machine()
    assert found["processor"]
    assert found["instructions"]
    assert found["cores"] == cores()


@pytest.mark.parametrize(("value", "text"), [("1", "on"), ("0", "off"), (None, "TensorFlow's choice")])
def test_onednn_is_what_tensorflow_was_asked_for(monkeypatch, value, text):
    monkeypatch.delenv(ONEDNN, raising=False)
    if value:
        monkeypatch.setenv(ONEDNN, value)
    assert machine()["onednn"] == text

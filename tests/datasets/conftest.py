import contextlib
import os
from pathlib import Path

import pytest

from cactus_tf.errors import InputError


@pytest.fixture
def official():
    """official(name): the folder with a data set's official files, where there is one."""

    def folder(name):
        root = os.environ.get("CACTUS_DATA_DIR")
        if not root:
            pytest.skip("CACTUS_DATA_DIR is not set")
        if not (Path(root) / name).is_dir():
            pytest.skip(f"CACTUS_DATA_DIR has no folder {name}")
        return Path(root) / name

    return folder


@pytest.fixture
def complains():
    """complains(words, ...): the block must raise an InputError of one line that has all the words."""

    @contextlib.contextmanager
    def about(*words):
        with pytest.raises(InputError) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        assert [word for word in words if str(word) not in message] == [], message

    return about

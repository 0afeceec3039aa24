import contextlib
import os
from pathlib import Path

import pytest

from cactus_tf.datasets._io import rows
from cactus_tf.datasets._io.listing import listing
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


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of four files."""
    monkeypatch.setattr(rows, "SHARD", 4)


@pytest.fixture
def entries(tmp_path):
    """Ten files in three shards, two of them bad."""
    (tmp_path / "files").mkdir()
    for i in range(10):
        (tmp_path / f"files/{i}.txt").write_text("bad" if i in (3, 8) else str(i))
    return listing(tmp_path / "files", (".txt",)).entries

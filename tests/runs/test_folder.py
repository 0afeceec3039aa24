import pytest

from cactus_tf.errors import InputError
from cactus_tf.runs import folder


def test_a_folder_of_another_configuration_names_the_first_four_differences(tmp_path):
    names = "abcdef"
    folder.claim(tmp_path, dict.fromkeys(names, 1), {})
    (tmp_path / "results.json").touch()
    folder.claim(tmp_path, dict.fromkeys(names, 1), {})
    with pytest.raises(InputError, match=r"\(a: 1 there, now 2; b.*; d: 1 there, now 2; and 2 more\); choose another"):
        folder.claim(tmp_path, dict.fromkeys(names, 2), {})
    with pytest.raises(InputError, match=r"; d: 1 there, now 2\); choose another"):
        folder.claim(tmp_path, {**dict.fromkeys(names, 1), **dict.fromkeys("abcd", 2)}, {})

from pathlib import Path

import pytest

from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded, given_name, identity


def test_a_tilde_at_the_start_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expanded("~/runs/a") == tmp_path / "runs" / "a"
    assert expanded(Path("~")) == tmp_path


@pytest.mark.parametrize("path", ["runs/~x", "/a~/b", ""])
def test_other_paths_stay_as_they_are(path):
    assert expanded(path) == Path(path)


def test_a_folder_whose_name_begins_with_a_tilde_stays_itself_when_expanded_twice():
    once = expanded("./~nobody_here")
    assert (once, expanded(str(once))) == (Path.cwd() / "~nobody_here", Path.cwd() / "~nobody_here")


def test_an_unknown_user_is_named_with_the_flag():
    with pytest.raises(InputError, match=r"^--out=~nobody_here/x: there is no home folder ~nobody_here; write the"):
        expanded("~nobody_here/x", "--out")


def test_a_link_counts_by_its_own_name_and_as_the_place_it_leads_to(tmp_path, monkeypatch):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "inner")
    monkeypatch.chdir(tmp_path)
    assert (given_name("link"), identity("link")) == ("link", str((tmp_path / "real" / "inner").resolve()))
    assert (given_name("link/.."), identity("link/..")) == ("real", str((tmp_path / "real").resolve()))
    assert given_name(".") == tmp_path.name

import numpy as np
import pytest

from cactus_tf.report.layouts import layouts, on_field


def groups(number, dim, each=20):
    """Embeddings in far groups, and the group of each."""
    rng, group = np.random.default_rng(0), np.repeat(np.arange(number), each)
    return (30 * rng.normal(size=(number, dim))[group] + rng.normal(size=(len(group), dim))).astype(np.float32), group


def distances(plane):
    return np.linalg.norm(plane[:, None] - plane[None], axis=-1)


def test_pca_keeps_the_distances_of_embeddings_that_lie_in_a_plane():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2))
    turned = flat @ np.linalg.qr(rng.normal(size=(7, 7)))[0][:2]
    found = layouts(turned)
    np.testing.assert_allclose(distances(found.pca), distances(flat), atol=1e-9)
    assert found.explained == pytest.approx(1)


def test_tsne_keeps_each_picture_beside_its_own_group():
    embeddings, group = groups(8, 64)
    away = distances(layouts(embeddings).tsne)
    np.fill_diagonal(away, np.inf)
    assert (group[away.argmin(axis=1)] == group).mean() > 0.98


def test_the_same_embeddings_have_the_same_places():
    embeddings, _ = groups(4, 16)
    first, second = layouts(embeddings), layouts(embeddings.copy())
    np.testing.assert_array_equal(first.tsne, second.tsne)
    np.testing.assert_array_equal(first.pca, second.pca)


@pytest.mark.parametrize(("number", "dim"), [(5, 3), (12, 1), (6, 2000), (100, 2)])
def test_few_embeddings_and_short_ones_have_places(number, dim):
    found = layouts(np.random.default_rng(0).normal(size=(number, dim)))
    for plane in (found.tsne, found.pca):
        assert plane.shape == (number, 2)
        assert np.isfinite(plane).all()


def test_a_field_holds_all_points_at_one_scale():
    plane = np.random.default_rng(0).normal(size=(50, 2)) * [5, 1] + 7
    places = on_field(plane, 4, 3, margin=0.1)
    assert places[:, 0].min() == pytest.approx(0.1)
    assert places[:, 0].max() == pytest.approx(0.9)
    assert (abs(places - 0.5) <= 0.4 + 1e-9).all()
    spread, shown = np.ptp(plane, axis=0), np.ptp(places * [4, 3], axis=0)
    np.testing.assert_allclose(shown / shown[0], spread / spread[0])

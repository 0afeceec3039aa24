import numpy as np
import pytest

from cactus_tf import backbones
from cactus_tf.errors import InputError


def sizes(model):
    return [layer.output.shape[1:3] for layer in model.layers if "pool" in layer.name and len(layer.output.shape) == 4]


@pytest.mark.parametrize(
    ("side", "expected"), [(84, [(42, 42), (21, 21), (10, 10), (5, 5)]), (224, [(56, 56), (28, 28), (14, 14), (7, 7)])]
)
def test_resnet_has_the_authors_sizes(side, expected):
    model = backbones.build("resnet", (side, side, 3), 5, filters=2)
    assert sizes(model) == expected
    assert model.get_layer("stem").output.shape[1:3] == ((112, 112) if side == 224 else (84, 84))
    assert model.output_shape == (None, 5)


def test_resnet_has_the_weights_that_its_description_counts():
    f, shape = 4, (84, 84, 3)
    expected, before = 3 * 3 * 3 * f + f, f
    for block in range(4):
        channels = f * 2**block
        expected += before * channels  # shortcut
        expected += before + 9 * before * channels + channels  # offset, kernel and bias of the first part
        expected += channels + 9 * channels * channels + channels
        before = channels
    expected += 8 * f * 5 + 5
    model = backbones.build("resnet", shape, 5, filters=f)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == expected


def test_a_residual_block_adds_its_branch_to_its_shortcut():
    model = backbones.build("resnet", (16, 16, 1), filters=2, norm="none")
    for layer in model.layers:
        if layer.name.endswith("part2_conv"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    images = np.random.default_rng(0).random((2, 16, 16, 1), np.float32)
    x = np.array(model.get_layer("stem")(images))
    for block in range(1, 5):
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        x = x @ np.array(model.get_layer(f"block{block}_shortcut").kernel)[0, 0]
    np.testing.assert_allclose(model(images), x.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_mlp_has_two_layers_on_embeddings_and_four_on_pixels():
    def widths(model):
        return [layer.units for layer in model.layers if hasattr(layer, "units")]

    assert widths(backbones.build("mlp", (16,), 20, filters=32)) == [32, 32, 20]
    assert widths(backbones.build("mlp", (28, 28, 1), 20, filters=32)) == [1024, 512, 256, 128, 20]


def test_mlp_is_matrix_bias_norm_and_relu():
    model = backbones.build("mlp", (6,), 3, filters=4, norm="none")
    x = rows = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    for name in ("dense1", "dense2"):
        layer = model.get_layer(name)
        x = np.maximum(x @ np.array(layer.kernel) + np.array(layer.bias), 0)
    head = model.get_layer("head")
    np.testing.assert_allclose(model(rows), x @ np.array(head.kernel) + np.array(head.bias), rtol=1e-4, atol=1e-7)


def test_mlp_starts_from_a_truncated_normal_of_deviation_001():
    kernel = np.array(backbones.build("mlp", (28, 28, 1), 20).get_layer("dense1").kernel)
    assert np.abs(kernel).max() <= 0.02
    assert kernel.std() == pytest.approx(0.0088, abs=1e-4)  # 0.01 cut at two deviations


def test_shapes_that_a_network_cannot_take_are_errors():
    with pytest.raises(InputError, match="resnet takes images"):
        backbones.build("resnet", (16,), 5)
    with pytest.raises(InputError, match="too small for the four 2x2 poolings of resnet"):
        backbones.build("resnet", (12, 12, 1), 5)
    with pytest.raises(InputError, match="mlp takes"):
        backbones.build("mlp", (), 5)

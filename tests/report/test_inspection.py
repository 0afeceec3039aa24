import numpy as np

from cactus_tf.report import inspection
from cactus_tf.types import AssignedPartitions, ImageSet, Splits


def image_set(values, labels=None):
    images = np.array(values, np.uint8)[:, np.newaxis, np.newaxis, np.newaxis] * np.ones((1, 4, 4, 1), np.uint8)
    return ImageSet(images, None if labels is None else AssignedPartitions([np.array(labels)]))


def lines(data):
    return inspection.describe(data).splitlines()


def test_every_split_has_its_images_duplicates_and_classes_counted():
    data = Splits(image_set([1, 1, 1, 2], [0, 0, 1, 1]), image_set([3, 4]), image_set([5, 6, 7], [0, 1, 1]))
    described = [line.split(maxsplit=3) for line in lines(data)[1:4]]
    assert described == [
        ["train", "4", "2", "2, 2 to 2 images each"],
        ["val", "2", "0", "no labels"],
        ["test", "3", "0", "2, 1 to 2 images each"],
    ]
    assert lines(data)[4:] == ["image shape 4x4x1, 0.0 MB"]


def test_images_that_two_splits_share_are_counted():
    data = Splits(image_set([1, 2, 3]), image_set([2, 9]), image_set([3, 3, 1]))
    assert lines(data)[5:] == ["1 images of val are also in train", "3 images of test are also in train"]


def test_an_empty_split_is_described():
    data = Splits(image_set([1, 2]), ImageSet(np.zeros((0, 4, 4, 1), np.uint8)), image_set([3]))
    assert lines(data)[2].split() == ["val", "0", "0", "no", "labels"]


def test_several_partitions_by_labels_are_counted():
    many = AssignedPartitions([np.array([0, 1])] * 3)
    data = Splits(ImageSet(np.zeros((2, 4, 4, 1), np.uint8), many), image_set([1]), image_set([2]))
    assert lines(data)[1].endswith("3 partitions by labels")

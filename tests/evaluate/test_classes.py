"""Class folders and labels against the outputs of a classifier."""

import pytest

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.evaluate.classes import imagenet_synsets, match_classes
from mnasnet_deploy.export.labels import imagenet_labels

SYNSETS = tuple(imagenet_synsets())


def test_synsets_stand_in_imagenets_order():
    assert len(SYNSETS) == 1000
    assert list(SYNSETS) == sorted(SYNSETS)
    assert imagenet_labels()[imagenet_synsets()["n02510455"]] == "giant panda"
    assert imagenet_labels()[imagenet_synsets()["n01440764"]] == "tench"
    assert imagenet_labels()[imagenet_synsets()["n15075141"]] == "toilet tissue"


def test_a_thousand_synset_folders_are_the_thousand_classes():
    assert match_classes(SYNSETS, 1000, None, folders=True) == tuple(range(1000))


def test_behind_a_background_classes_count_from_one():
    assert match_classes(SYNSETS, 1001, None, folders=True) == tuple(range(1, 1001))
    plain = tuple(sorted(f"class {number}" for number in range(1000)))
    assert match_classes(plain, 1001, None, folders=True) == tuple(range(1, 1001))
    assert match_classes(("0", "388"), 1001, None, folders=False) == (1, 389)


def test_some_synsets_are_their_classes_and_not_the_first_ones():
    ten = ("n01440764", "n02102040", "n03888257")
    assert match_classes(ten, 1000, None, folders=True) == (0, 217, 701)


def test_folders_count_in_the_order_of_the_alphabet():
    assert match_classes(("bird", "cat", "dog"), 3, None, folders=True) == (0, 1, 2)


def test_numbers_are_numbers_and_not_text():
    numbers = tuple(sorted(str(number) for number in range(12)))
    assert numbers[:3] == ("0", "1", "10")
    found = match_classes(numbers, 12, None, folders=True)
    assert dict(zip(numbers, found, strict=True))["10"] == 10
    assert match_classes(("007", "3"), 10, None, folders=False) == (7, 3)


def test_names_in_the_file_come_first():
    names = ("dog", "cat", "7")
    assert match_classes(("cat", "dog"), 3, names, folders=True) == (1, 0)
    assert match_classes(("7",), 3, names, folders=False) == (2,)
    # Not all of them are names, and there are three for three outputs: the alphabet decides.
    assert match_classes(("bird", "cat", "dog"), 3, names, folders=True) == (0, 1, 2)


def test_a_classifier_of_1001_classes_of_its_own_has_no_background():
    folders = tuple(sorted(f"class {number}" for number in range(1001)))
    assert match_classes(folders, 1001, None, folders=True) == tuple(range(1001))


@pytest.mark.parametrize(
    ("labels", "classes", "names", "folders", "message"),
    [
        (("cat", "dog"), 3, None, True, "2 class folders do not fit 3 classes, such as 'cat'"),
        (("cat",), 10, None, False, "1 label does not fit 10 classes"),
        (("train", "val"), 1000, None, True, r"'train' \(give numbers from 0, or synsets"),
        (("3", "10"), 10, None, False, r"label 10 does not fit 10 classes \(0 to 9"),
        (("1", "1000"), 1001, None, False, "without the background"),
        (("1", "01"), 10, None, False, "two labels are the number 1"),
        (("crane",), 3, ("crane", "crane", "dog"), False, "'crane' names 2 classes"),
    ],
)
def test_what_does_not_fit_is_said(labels, classes, names, folders, message):
    with pytest.raises(InputError, match=message):
        match_classes(labels, classes, names, folders=folders)

"""Maps of labels: numbers and names to classes, what is ignored, and text form."""

from __future__ import annotations

import numpy as np
import pytest

from pointcoc.data import IGNORE, parse_labels
from pointcoc.data.scene_labels import SceneLabels, class_names

LAS = {2: "ground", 5: "tree", 6: "building"}


def where(entry: int) -> str:
    return f"a.las, row {entry + 1},"


def test_stored_numbers_become_classes() -> None:
    labels = SceneLabels(classes=tuple(LAS.values()), labels=LAS, ignore=(0, 255, -1))
    stored = np.array([6, 2, 0, 5, 255, -1, IGNORE, 2])
    assert labels.of_numbers(stored, where).tolist() == [2, 0, IGNORE, 1, IGNORE, IGNORE, IGNORE, 0]
    by_number = SceneLabels(classes=("a", "b"), labels={7: 1, 8: 0, 9: IGNORE, "Floor": "b"})
    assert by_number.of_numbers(np.array([7, 8, 9]), where).tolist() == [1, 0, IGNORE]
    assert by_number.of_name("Floor") == 1
    plain = SceneLabels(classes=("a", "b"), ignore=(-1,))
    assert plain.of_numbers(np.array([1, 0, -1]), where).tolist() == [1, 0, IGNORE]
    assert plain.of_numbers(np.empty(0, dtype=np.int64), where).tolist() == []


def test_a_number_that_means_nothing_is_an_error_of_its_row() -> None:
    labels = SceneLabels(classes=tuple(LAS.values()), labels=LAS, ignore=(0,))
    for stored, sentence in (([2, 5, 1, 6], "row 3, has the label 1"), ([2, -1], "row 2, has the label -1")):
        with pytest.raises(ValueError, match=rf"a\.las, {sentence}, which must be one of 0, 2, 5, 6"):
            labels.of_numbers(np.array(stored), where)
    with pytest.raises(ValueError, match="has the label 2, which must be 0 to 1, 255; give labels"):
        SceneLabels(classes=("a", "b"), ignore=(255,)).of_numbers(np.array([255, 2]), where)


def test_classes_that_count_nowhere() -> None:
    labels = SceneLabels(classes=("a", "b", "c"), labels={4: "a", 5: "c"}, ignore=("c",))
    assert labels.of_numbers(np.array([4, 5]), where).tolist() == [0, IGNORE]
    assert labels.of_name("c") == IGNORE
    assert labels.ignored_classes == {2}
    by_number = SceneLabels(classes=("unlabeled", "b"), ignore=(0,))
    assert by_number.ignored_classes == {0}
    (remark,) = by_number.remarks()
    assert remark.startswith("the class 'unlabeled' counts nowhere, since ignore holds its number 0; if")
    assert labels.remarks() == ()
    assert by_number.of_numbers(np.array([0, 1]), where).tolist() == [IGNORE, 1]
    assert SceneLabels(classes=("a", "b"), labels={0: "b"}, ignore=(1,)).ignored_classes == frozenset()


def test_names_of_objects() -> None:
    labels = SceneLabels(classes=("floor", "clutter"), labels={"Floor": "floor", "sofa": IGNORE})
    assert [labels.of_name(name) for name in ("floor", "Floor", "sofa", "stairs")] == [0, 0, IGNORE, 1]
    assert SceneLabels(classes=("floor",)).of_name("stairs") == IGNORE
    said = SceneLabels(classes=("floor",)).explain("Floor", 1200, 2, "Area_1")
    assert said == (
        "objects named 'Floor' are none of the classes: 1,200 points in 2 rooms of Area_1 left out; 'floor' differs in "
        "case only"
    )
    assert labels.explain("stairs", 3, 1, "Area_1").endswith("3 points in 1 room of Area_1 counted as clutter")


def test_what_contradicts_itself() -> None:
    for arguments, sentence in (
        ({"labels": {2: "Ground"}}, r"labels must name classes, of ground, tree or their numbers 0 to 1, got 'Ground'"),
        ({"labels": {2: 2}}, "labels must name classes.* got 2"),
        ({"ignore": ("grass",)}, "ignore must name classes.* got 'grass'"),
        ({"labels": {2: "ground"}, "ignore": (2,)}, "must not hold the same numbers, got 2 in both"),
        ({"classes": ("a", "b", "a")}, "classes must be names, each once, got a"),
        ({"classes": ()}, "classes must be names, each once, got none"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SceneLabels(**{"classes": ("ground", "tree"), **arguments})


def test_the_text_form() -> None:
    assert parse_labels("2=ground 5=tree, 6=building") == LAS
    assert parse_labels(("2=ground", "5=high vegetation", "Floor=floor", "7=-100", "-1 = 0")) == {
        2: "ground", 5: "high vegetation", "Floor": "floor", 7: IGNORE, -1: 0,
    }  # fmt: skip
    assert parse_labels("") == parse_labels(()) == {}
    for text, sentence in (
        ("2:ground", "pairs STORED=CLASS, such as 2=ground, got '2:ground'"),
        ("2=", "got '2='"),
        (("2=ground 5=tree",), "got '2=ground 5=tree'"),
        ("2=a 2=b", "each stored label once, got '2' twice"),
    ):
        with pytest.raises(ValueError, match=sentence):
            parse_labels(text)


def test_names_of_classes_come_from_the_map() -> None:
    assert class_names(None, {2: "ground", 3: "tree", 4: "tree", 5: 0}, ("a",)) == ("ground", "tree")
    assert class_names(None, {2: 0}, ("a", "b")) == class_names(None, {"Floor": "a"}, ("a", "b")) == ("a", "b")
    assert class_names(["tree"], LAS, ()) == ("tree",)
    with pytest.raises(ValueError, match="classes must be a sequence of names, got 'tree'"):
        class_names("tree", None, ())

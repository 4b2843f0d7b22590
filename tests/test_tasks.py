"""Task: what classes may be, what is positive, and the way to JSON and back."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest
from pydantic import TypeAdapter, ValidationError

from eosin.errors import DataError
from eosin.tasks import Task

BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
ON_DISK = TypeAdapter(Task)
HER2 = Task("her2", ("0", "1+", "2+", "3+"), ordinal=True)


@pytest.mark.parametrize("task", [BINARY, HER2, Task("subtype", ("A", "F", "PT", "TA"))])
def test_a_task_comes_back_from_json_as_it_was(task: Task) -> None:
    assert ON_DISK.validate_json(json.dumps(asdict(task)), strict=True) == task


def test_the_order_of_the_classes_is_the_index_of_a_label() -> None:
    assert [HER2.index(level) for level in ("0", "1+", "2+", "3+")] == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"label '4\+' is not a class of task 'her2'"):
        HER2.index("4+")


def test_only_a_task_with_a_positive_class_is_binary() -> None:
    assert BINARY.binary
    assert BINARY.positive_index == 1
    assert Task("turned", BINARY.classes, positive="benign").positive_index == 0
    assert not HER2.binary
    with pytest.raises(DataError, match="'her2' has no positive class"):
        HER2.positive_index  # noqa: B018


@pytest.mark.parametrize("classes", [(), ("benign",), ("benign", "benign")])
def test_fewer_than_two_distinct_classes_are_no_task(classes: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"task 'binary' needs at least two distinct classes"):
        Task("binary", classes)


def test_a_positive_class_must_be_one_of_exactly_two() -> None:
    with pytest.raises(DataError, match="positive class 'cancer' must be one of exactly two"):
        Task("binary", ("benign", "malignant"), positive="cancer")
    with pytest.raises(DataError, match=r"positive class '3\+'"):
        Task("her2", ("0", "1+", "2+", "3+"), positive="3+")


@pytest.mark.parametrize("classes", [None, "benign", [0, 1], {"benign": 0}])
def test_classes_that_are_no_list_of_names_are_refused(classes: object) -> None:
    with pytest.raises(ValidationError, match="classes"):
        ON_DISK.validate_json(json.dumps({**asdict(HER2), "classes": classes}), strict=True)


@pytest.mark.parametrize("name", ["abstain", "ductal|lobular"])
def test_a_class_that_predictions_would_mean_otherwise_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"the class {re.escape(repr(name))} needs another name"):
        Task("binary", ("benign", name))

"""Every example in a docstring of the five packages gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("embed", "index", "rerank", "classify_head", "pipelines")
MODULES = sorted(
    found.name
    for package in PACKAGES
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    if found.name != "pipelines.__main__"  # importing it runs the command
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_in_every_package_that_computes() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    counts = dict.fromkeys(PACKAGES, 0)
    for name in MODULES:
        tests = finder.find(importlib.import_module(name))
        counts[name.partition(".")[0]] += sum(len(test.examples) for test in tests)
    assert all(counts[package] for package in ("embed", "index", "classify_head")), counts

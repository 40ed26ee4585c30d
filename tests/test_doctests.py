"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_tokenizer

import toolalpaca_hf

MODULES = [
    "toolalpaca_hf",
    *(module.name for module in pkgutil.walk_packages(toolalpaca_hf.__path__, prefix="toolalpaca_hf.")),
]


class FencedParser(doctest.DocTestParser):
    """Examples stand in Markdown fences; the closing fence is not part of what is printed."""

    def parse(self, string: str, name: str = "<string>") -> list[str | doctest.Example]:
        return super().parse(re.sub(r"^ *```(python)?$", "", string, flags=re.MULTILINE), name)


def examples_of(module: str) -> list[doctest.DocTest]:
    """The docstrings of a module that have an example which is not marked to be skipped."""
    found = doctest.DocTestFinder(parser=FencedParser()).find(importlib.import_module(module))
    return [test for test in found if any(doctest.SKIP not in example.options for example in test.examples)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """What examples call `tokenizer`; its end of sequence is that of SmolLM2."""
    return tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # nothing may lean on where it runs, nor leave files in the tree
    report: list[str] = []
    for test in examples_of(module):
        test.globs.setdefault("tokenizer", tokenizer)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not report, "".join(report)


def test_there_are_examples() -> None:
    running = [
        example
        for module in MODULES
        for test in examples_of(module)
        for example in test.examples
        if doctest.SKIP not in example.options
    ]
    assert len(MODULES) > 30 and len(running) >= 70


def test_a_wrong_example_is_seen() -> None:
    docstring = "```python\n>>> 1 + 1\n3\n```\n"
    test = FencedParser().get_doctest(docstring, {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda text: None).failed == 1

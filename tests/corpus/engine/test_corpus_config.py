"""Settings that cannot work are found before anything is paid for; an estimate keeps to their limits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolalpaca_hf.corpus import CorpusConfig, estimate
from toolalpaca_hf.corpus.config import SimulationSettings
from toolalpaca_hf.corpus.engine.pipeline import EXPECTED
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError

MODELS: dict[str, Any] = {"endpoint": "http://127.0.0.1:9/v1", "model": "gpt-9"}


def made(**sections: Any) -> CorpusConfig:
    return CorpusConfig.load(None, {**sections, "models": {**MODELS, **sections.get("models", {})}})


@pytest.mark.parametrize(
    ("section", "values", "option"),
    [
        ("instructions", {"styles": ["poem"]}, "instructions.styles.0"),
        ("instructions", {"styles": []}, "instructions.styles"),
        ("instructions", {"batch": 0}, "instructions.batch"),
        ("instructions", {"batch": "9"}, "instructions.batch"),
        ("instructions", {"batch": True}, "instructions.batch"),
        ("instructions", {"batch": 2.5}, "instructions.batch"),
        ("instructions", {"per_style": -1}, "instructions.per_style"),
        ("instructions", {"details": 1.5}, "instructions.details"),
        ("toolset", {"attempts": 0}, "toolset.attempts"),
        ("models", {"retries": -1}, "roles.author.retries"),
        ("models", {"price": {"prompt": -2.0}}, "roles.author.price.prompt"),
        ("models", {"price": {"promt": 2.0}}, "roles.author.price.promt"),
        ("models", {"temprature": 0.5}, "roles.author.temprature"),
        ("screen", {"threshold": 50.0}, "screen.threshold"),
        ("screen", {"documents": float("nan")}, "screen.documents"),
        ("simulation", {"limits": {"steps": 0}}, "simulation.limits.steps"),
        ("simulation", {"limits": {"step": 3}}, "simulation.limits.step"),
        ("simulation", {"executor": "nobody"}, "simulation.executor"),
        ("budget", {"calls": 0}, "budget.calls"),
        ("run", {"concurrency": 0}, "run.concurrency"),
        ("run", {"concurrancy": 3}, "run.concurrancy"),
        ("walk", {"concurrency": 3}, "walk"),
    ],
)
def test_settings_that_cannot_work_are_named(section: str, values: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as caught:
        made(**{section: values})
    assert caught.value.option == option


def test_settings_at_the_edge_of_what_works() -> None:
    config = made(
        models={"retries": 0},
        instructions={"styles": ["story"], "per_style": 1, "details": 1, "threshold": 1.0},
        toolset={"attempts": 1, "continuations": 0},
        simulation={"limits": {"unread": None}},
    )
    assert config.instructions.styles == ("story",) and config.simulation.limits.unread is None
    assert (config.instructions.details, type(config.instructions.details)) == (1.0, float)


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "corpus.yaml"
    with pytest.raises(NotFoundError):
        CorpusConfig.load(path)
    for text in ("models: [", "[1, 2]", "models: 7", "models: {endpoint: a, model: b}\nroles: {user: 7}"):
        path.write_text(text)
        with pytest.raises(InputError) as unread:
            CorpusConfig.load(path)
        assert str(unread.value.file) == str(path)
    assert unread.value.option == "roles.user"
    path.write_text("roles: {usher: {model: a}}")
    with pytest.raises(OptionError) as caught:
        CorpusConfig.load(path)
    assert (caught.value.option, caught.value.file) == ("roles.usher", str(path))


def test_a_tokenizer_that_is_absent_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        made(simulation={"gates": {"tokenizer": str(tmp_path / "nowhere")}})
    assert caught.value.option == "simulation.gates.tokenizer"


def test_a_budget_in_money_needs_prices() -> None:
    for price in ({}, {"price": {"prompt": 0.0, "completion": 0.0}}):
        with pytest.raises(OptionError) as caught:
            made(models=price, budget={"money": 2.0})
        assert caught.value.option == "roles.author.price"
    priced = {"price": {"prompt": 1.0}}
    with pytest.raises(OptionError) as caught:
        made(budget={"money": 2.0}, roles={"author": priced})
    assert caught.value.option == "roles.user.price"
    assert made(models=priced, budget={"money": 2.0}).budget.money == 2.0
    # A model on this machine costs nothing; the others have a price.
    local = made(models=priced, budget={"money": 2.0}, roles={"executor": {"local": "smollm2", "price": {}}})
    assert local.roles["executor"].local == "smollm2"


def test_what_a_local_model_cannot_be_combined_with(tmp_path: Path) -> None:
    config = CorpusConfig.load(None, {"models": {"local": "smollm2", "constrained": False}})
    assert config.run.concurrency == 1 and {role.local for role in config.roles.values()} == {"smollm2"}
    answers = {"local": "smollm2", "constrained": False, "temperature": 0.7, "seed": 0}
    assert config.output_settings()["roles"]["user"] == answers
    half = CorpusConfig.load(None, {"models": {"local": "smollm2", "constrained": False, "dtype": "float16"}})
    assert half.output_settings()["roles"]["user"] == answers | {"dtype": "float16"}
    for sections, option in [
        ({"models": {"local": "smollm2", "endpoint": "http://a"}}, "roles.author"),
        ({"models": {"endpoint": "http://a", "model": "b", "constrained": True}}, "models.constrained"),
        ({"models": {"endpoint": "http://a", "model": "b", "dtype": "float32"}}, "models.dtype"),
        *(
            ({"models": {"local": "smollm2"}, "run": run}, "--local")
            for run in ({"tasks": 2}, {"workers": 2}, {"executor": "ray"}, {"executor": "slurm"})
        ),
    ]:
        with pytest.raises(OptionError) as caught:
            CorpusConfig.load(None, sections)
        assert caught.value.option == option
    mixed = tmp_path / "mixed.yaml"
    mixed.write_text("models: {endpoint: 'http://a', model: b}\nroles: {executor: {local: smollm2}}")
    found = CorpusConfig.load(mixed)
    assert (found.roles["executor"].local, found.roles["user"].local, found.run.concurrency) == ("smollm2", None, 64)


@pytest.mark.parametrize(
    "text", ["toolset: {2024-01-01: 1}", "run: &a [*a]", "? [a]\n: 1", "[", "a: " * 9, "toolset: " + "[" * 5000]
)
def test_yaml_that_is_no_recipe_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        CorpusConfig.load(path, {"models": MODELS})
    assert caught.value.file == path
    path.write_text("roles: {1: {}, x: {}}")
    with pytest.raises(OptionError) as refused:
        CorpusConfig.load(path, {"models": MODELS})
    assert refused.value.option == "roles.1"


@pytest.mark.parametrize("name", ["default", "local", "smollm2"])
def test_recipes_hold_settings_that_exist(name: str) -> None:
    path = Path(__file__).parents[3] / "recipes" / "corpus" / f"{name}.yaml"
    config = CorpusConfig.load(path, {"models": MODELS})
    assert {role.model for role in config.roles.values()} == {"gpt-9"}
    with pytest.raises(OptionError) as caught:
        CorpusConfig.load(path)
    assert caught.value.option == "--endpoint"


def test_an_estimate_keeps_to_the_limits_of_the_settings(tmp_path: Path) -> None:
    roomy, tight = made(), made(
        toolset={"introduction_tokens": 30, "functions_tokens": 60, "document_tokens": 90},
        instructions={"max_tokens": 50},
        simulation={"limits": {"turn_tokens": 20}, "answer_tokens": 10},
    )  # fmt: skip

    def answered(config: CorpusConfig) -> dict[str, int]:
        expected = estimate(40, config, tmp_path).roles
        return {role: round(spent.completion_tokens / spent.calls) for role, spent in expected.items()}

    assert answered(roomy) == {role: tokens for role, (_, tokens) in EXPECTED.items()}
    assert answered(tight) == {"author": 60, "user": 50, "assistant": 20, "executor": 10}


def test_limits_of_a_simulation_that_are_not_given_are_its_own() -> None:
    assert made(simulation={"limits": {"steps": 3}}).simulation.limits == replace(made().simulation.limits, steps=3)
    assert made(simulation={"seed": 1}).simulation.limits == made().simulation.limits == SimulationSettings().limits

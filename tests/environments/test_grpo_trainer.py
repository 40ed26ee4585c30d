"""Groups that share their prompt: log-probabilities, gradients and turns are those of each row by itself."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny_llama
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM
from trl import GRPOConfig

from toolalpaca_hf.environments import (
    EnvironmentGRPOTrainer,
    environment_dataset,
    openapi_environments,
    reward_parts,
)
from toolalpaca_hf.training import continuation_logprobs


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def trainer(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> EnvironmentGRPOTrainer:
    environments = openapi_environments("sample", documentation=True)
    args = GRPOConfig(
        str(tmp_path_factory.mktemp("grpo")),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=40,
        generation_kwargs={"max_new_tokens": 12},
        max_tool_calling_iterations=2,
        reward_weights=[0.0] * len(reward_parts()),
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        model_init_kwargs={"dtype": "float32"},
    )
    rows = environment_dataset(environments)
    return EnvironmentGRPOTrainer(
        str(llama), args, freeze_layers=1, reward_funcs=reward_parts(), train_dataset=rows,
        environment_factory=environments,
    )  # fmt: skip


def row_logprobs(model: Any, prompt: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """A row by itself, with nothing shared."""
    logits = model(input_ids=torch.cat([prompt, ids])[None], use_cache=False).logits[0, len(prompt) - 1 : -1]
    return (logits.float() / temperature).log_softmax(-1)


def test_log_probabilities_and_gradients_are_those_of_single_rows(llama: Path) -> None:
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    prompt, ends = torch.randint(5, 100, (30,)), [torch.randint(5, 100, (size,)) for size in (9, 1, 20)]
    found = continuation_logprobs(model, prompt, ends, model, 0.7)
    weights = [torch.randn(len(ids)) for ids in ends]
    torch.stack([(logps * own).sum() for (logps, _), own in zip(found, weights, strict=True)]).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    for (logps, entropies), ids, own in zip(found, ends, weights, strict=True):
        every = row_logprobs(model, prompt, ids, 0.7)
        expected = every.gather(1, ids[:, None])[:, 0]
        torch.testing.assert_close(logps, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(entropies, -(every.exp() * every).sum(-1), atol=1e-4, rtol=1e-4)
        (expected * own).sum().backward()
    assert gradients
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4, rtol=1e-3)
    assert model.config._attn_implementation != "tree"


def test_a_batch_of_groups_is_what_trl_computes_of_it(trainer: EnvironmentGRPOTrainer) -> None:
    torch.manual_seed(1)
    prompts = [torch.randint(5, 100, (size,)) for size in (21, 21, 13, 21)]
    prompts[3] = prompts[1] = prompts[0]
    ends = [torch.randint(5, 100, (size,)) for size in (7, 3, 5, 6)]
    ids = torch.stack(
        [
            torch.cat([pad(prompt, (21 - len(prompt), 0)), pad(end, (0, 7 - len(end)))])
            for prompt, end in zip(prompts, ends, strict=True)
        ]
    )
    seen = torch.stack(
        [
            pad(torch.ones(len(prompt) + len(end), dtype=torch.long), (21 - len(prompt), 7 - len(end)))
            for prompt, end in zip(prompts, ends, strict=True)
        ]
    )
    assert trainer._trees
    found = trainer._get_per_token_logps_and_entropies(trainer.model, ids, seen, 7, compute_entropy=True)
    trainer._trees = False
    try:
        expected = trainer._get_per_token_logps_and_entropies(trainer.model, ids, seen, 7, compute_entropy=True)
    finally:
        trainer._trees = True
    real = seen[:, -7:].bool()
    for own, theirs in zip(found[:2], expected[:2], strict=True):
        assert own is not None and theirs is not None and own.shape == theirs.shape
        torch.testing.assert_close(own[real], theirs[real], atol=1e-4, rtol=1e-4)


def test_generation_kwargs_that_are_not_known_here_are_left_to_trl(
    trainer: EnvironmentGRPOTrainer, llama: Path, tmp_path: Path
) -> None:
    environments = openapi_environments("sample", documentation=True)
    # The second are what the trainer itself left in its arguments.
    for kwargs, known in (({"no_repeat_ngram_size": 3}, False), (trainer.args.generation_kwargs, True)):
        args = copy.copy(trainer.args)
        args.output_dir, args.generation_kwargs = str(tmp_path), kwargs
        given: dict[str, Any] = {"reward_funcs": reward_parts(), "environment_factory": environments}
        other = EnvironmentGRPOTrainer(str(llama), args, train_dataset=environment_dataset(environments), **given)
        assert other._generates == known


def test_steps_log_where_their_time_went(trainer: EnvironmentGRPOTrainer) -> None:
    policy: Any = trainer._policy
    before = {name: weight.clone() for name, weight in policy.named_parameters()}
    turns: list[tuple[list[int], list[int]]] = []
    written = trainer._continue

    def heard(prompt_ids: list[list[int]]) -> list[list[int]]:
        found = written(prompt_ids)
        turns.extend(zip(prompt_ids, found, strict=True))
        return found

    trainer._continue = heard  # type: ignore[method-assign]  # listens in
    trainer.train()
    logged = [row for row in trainer.state.log_history if "reward" in row]
    assert len(logged) == 2
    for row in logged:
        assert row["time/generation"] > 0 and row["time/environment"] > 0 and row["time/loss"] > 0
        parts = row["time/generation"] + row["time/environment"] + row["time/loss"]
        assert parts == pytest.approx(row["step_time"], rel=0.05)
    assert turns and all(0 < len(ids) <= 12 for _, ids in turns)
    assert policy.training and before["model.layers.0.mlp.up_proj.weight"].equal(
        policy.model.layers[0].mlp.up_proj.weight
    )


def test_a_turn_goes_on_from_the_cache_of_the_one_before(trainer: EnvironmentGRPOTrainer) -> None:
    """What is drawn with what was kept is what is drawn of the whole conversation, with another generator."""
    from toolalpaca_hf.inference import BatchGenerator

    torch.manual_seed(2)
    prompt = torch.randint(5, 100, (25,)).tolist()
    trainer._generator = None
    first = trainer._continue([prompt, prompt])
    asked = [prompt + ids + [7, 8, 9] for ids in first]
    second = trainer._continue(asked)
    assert [len(ids) for ids in first] == [12, 12] and first[0] != first[1]
    assert all(len(ids) <= 12 for ids in second)
    generator = trainer._generator
    assert generator is not None
    plain = BatchGenerator(
        trainer._policy, trainer._reader, generator.stops, 2, reuse=False, temperature=1.0, seed=generator.seed
    )
    limits = [len(ids) for ids in second]
    again = [plain.generate([None], [ids], [limit])[0] for ids, limit in zip(asked, limits, strict=True)]
    assert [one.ids for one in again] == second  # type: ignore[union-attr]  # none is an exception

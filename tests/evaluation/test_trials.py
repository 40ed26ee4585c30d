"""Repeated trials against enumeration, against simulated components of variance, and through whole evaluations."""

import json
from itertools import combinations
from math import sqrt
from pathlib import Path
from statistics import NormalDist, fmean

import numpy as np
import pytest
from agent.scripted import Reply, ScriptedBackend

from toolalpaca_hf.agent import RolloutConfig
from toolalpaca_hf.errors import OptionError, SettingsMismatchError
from toolalpaca_hf.evaluation import EvaluationConfig, compare, evaluate_model, plan_trials, read_suite
from toolalpaca_hf.evaluation.comparison import comparison_markdown
from toolalpaca_hf.evaluation.report.figures import detectable_text
from toolalpaca_hf.evaluation.scores import aggregate
from toolalpaca_hf.evaluation.statistics import DETECT, detectable, detectable_between, measure_trials, merge_trials
from toolalpaca_hf.evaluation.suite import Suite

SAMPLED = RolloutConfig(temperature=0.7)


@pytest.fixture(scope="module")
def suite() -> Suite:
    return read_suite("sample")


def records(rows: np.ndarray) -> list[dict]:
    return [{"api": f"api{i % 10}", "trials": [bool(value) for value in row]} for i, row in enumerate(rows)]


def test_pass_at_k_is_the_mean_over_all_choices_of_k_trials() -> None:
    rows = np.random.default_rng(0).random((12, 5)) < 0.4
    found = measure_trials(records(rows), plan_trials(SAMPLED, 5), greedy=False)
    for k in range(1, 6):
        chosen = [[row[list(some)] for some in combinations(range(5), k)] for row in rows]
        some_of = fmean(any(trials) for row in chosen for trials in row)
        all_of = fmean(all(trials) for row in chosen for trials in row)
        assert found["pass_at"][str(k)]["value"] == pytest.approx(some_of)
        assert found["pass_all"][str(k)]["value"] == pytest.approx(all_of)
    assert found["pass_at"]["1"]["value"] == pytest.approx(rows.mean()) == found["pass_all"]["1"]["value"]


def simulated(plan: list, seed: int = 1, instructions: int = 6000, user: float = 0.0) -> tuple[np.ndarray, dict]:
    """Scores of instructions whose rate is shifted by the simulator's seed and the user; and the true components."""
    random = np.random.default_rng(seed)
    base = random.uniform(0.3, 0.7, instructions)
    seeds = {trial.simulator_seed: random.choice([-0.2, 0.2], instructions) for trial in plan}
    users = {trial.user: random.choice([-user, user], instructions) for trial in plan}
    rates = np.array([base + seeds[t.simulator_seed] + users[t.user] for t in plan]).T
    true = {"instruction": 0.4**2 / 12, "sampling": float((rates * (1 - rates)).mean()), "simulator": 0.04}
    return random.random(rates.shape) < rates, true | {"user": user**2}


def test_sources_of_variance_are_told_apart() -> None:
    plan = plan_trials(SAMPLED, 6)
    rows, true = simulated(plan)
    found = measure_trials(records(rows), plan, greedy=False)["variance"]
    for name in ("sampling", "simulator"):
        assert found[name] == pytest.approx(true[name], abs=0.008), name
    # Two seeds of the world stay in an instruction's own mean in part.
    assert found["instruction"] == pytest.approx(true["instruction"] + true["simulator"] / 2 * 2 / 3, abs=0.01)
    assert found["user"] is None and found["judge"] is None


def test_a_user_is_told_apart_from_seeds_and_sampling() -> None:
    config = RolloutConfig(temperature=0.7, user_endpoint="http://127.0.0.1:1/v1", user_model="m")
    plan = plan_trials(config, 8, vary_user=True)
    assert [trial.user for trial in plan] == ["configured"] * 4 + ["scripted"] * 4
    assert plan[-1].settings()["user_model"] is None and len({trial.simulator_seed for trial in plan}) == 4
    rows, true = simulated(plan, user=0.1)
    found = measure_trials(records(rows), plan, greedy=False)["variance"]
    assert found["user"] == pytest.approx(true["user"], abs=0.006)
    assert found["simulator"] == pytest.approx(true["simulator"], abs=0.008)


def test_of_greedy_trials_all_variance_within_is_the_simulators() -> None:
    plan = plan_trials(RolloutConfig(), 3)
    assert [trial.simulator_seed for trial in plan] == [0, 1, 2]
    found = measure_trials(records(np.array([[1, 0, 1], [1, 1, 1]])), plan, greedy=True)
    assert found["variance"]["sampling"] == 0.0
    assert found["variance"]["simulator"] == pytest.approx(found["within"]) == pytest.approx(1 / 6)


def test_three_sampled_trials_cannot_tell_the_simulator() -> None:
    plan = plan_trials(SAMPLED, 3)
    assert {trial.simulator_seed for trial in plan} == {0}
    assert measure_trials(records(np.eye(3)), plan, greedy=False)["variance"]["simulator"] is None


@pytest.mark.parametrize(
    "config, trials, vary",
    [
        (RolloutConfig(real=True), 2, False),
        (RolloutConfig(simulator="http://127.0.0.1:1"), 2, False),
        (SAMPLED, 4, True),
        (RolloutConfig(temperature=1.0, user_endpoint="http://127.0.0.1:1/v1", user_model="m"), 3, True),
    ],
)
def test_trials_that_say_nothing_are_refused(config: RolloutConfig, trials: int, vary: bool) -> None:
    with pytest.raises(OptionError):
        plan_trials(config, trials, vary)


def test_the_detectable_difference_is_detected_four_times_in_five() -> None:
    """Two runs on the same instructions, of which one is better by it, by a z-test of the paired difference."""
    random, n, trials = np.random.default_rng(3), 100, 4
    base = random.choice([0.05, 0.3, 0.5, 0.7], n)
    within = float((base * (1 - base)).mean())
    step = detectable({"low": 0.2, "high": 0.4}, within, n, trials)["same_instructions"]
    assert step == pytest.approx(DETECT * sqrt(2 * within / n / trials))
    shown = []
    for _ in range(600):
        a, b = ((random.random((trials, n)) < p).mean(axis=0) for p in (base + step, base))
        error = sqrt(2 * within / n / trials)
        shown.append(abs((a - b).mean()) / error > NormalDist().inv_cdf(0.975))
    assert 0.74 < fmean(shown) < 0.88


def test_more_trials_only_help_where_trials_are_the_noise() -> None:
    """A paired difference whose spread is all between trials, or all between instructions."""
    spread = {"low": -0.05, "high": 0.05, "n": 100}
    error = 0.05 / NormalDist().inv_cdf(0.975)
    within = error**2 / 2 * 100 * 4
    noisy = detectable_between(spread, [(within, 4), (within, 4)])
    assert noisy["difference"] == pytest.approx(DETECT * error)
    assert noisy["trials"] == int(np.ceil(2 * within / 100 * (DETECT / 0.03) ** 2)) > 4
    assert detectable_between(spread, [(0.0, 4), (0.0, 4)])["trials"] is None
    assert "trials" not in detectable_between(spread, [(None, 1), (within, 4)])


def test_trials_that_never_differ_say_nothing_of_trials() -> None:
    """Four of four trials of every instruction alike: not a difference of 0 points that one trial shows."""
    found = detectable({"low": 0.2, "high": 0.4}, 0.0, 12, 4)
    assert found["same_instructions"] is None and found["trials"] is None and found["instructions"] > 0
    between = detectable_between({"low": -0.01, "high": 0.01, "n": 100}, [(0.0, 4), (0.0, 4)])
    assert between["trials"] is None
    for key in ("trials", "same_instructions"):
        assert "cannot be estimated" in detectable_text(found, key)
    assert detectable_text({"trials": None, "within": 0.2}, "trials") == "no number of them"
    assert "points" in detectable_text(detectable({"low": 0.2, "high": 0.4}, 0.1, 12, 4), "same_instructions")


def by_seed(suite: Suite) -> ScriptedBackend:
    """A model that makes the golden calls, of every third instruction only with an even seed."""
    golden = {one.instruction: (place, one.golden_calls) for place, one in enumerate(suite.instructions)}
    backend = ScriptedBackend(lambda instruction, turn: "")

    def reply(instruction: str, turn: int) -> Reply:
        place, calls = golden[instruction]
        if (place % 3 == 0 and backend.seed % 2) or turn == len(calls):
            return " I know it.\nResponse: It is so."
        return f" I look.\nAction: {calls[turn].action}\nAction Input: {calls[turn].action_input}"

    backend.reply = reply
    return backend


def test_trials_are_rolled_out_scored_and_resumed(suite: Suite, tmp_path: Path) -> None:
    config = EvaluationConfig(temperature=0.7, trials=4)
    metrics = evaluate_model(suite, by_seed(suite), tmp_path, config=config, progress=False)
    trials = metrics["trials"]
    assert trials["n"] == 4 and sorted(path.name for path in (tmp_path / "trials").iterdir()) == ["1", "2", "3"]
    rows = json.loads((tmp_path / "instructions.json").read_text())
    assert rows[0]["trials"] in ([True, False, True, False], [False, False, True, False], [True, False, False, False])
    assert metrics["process_verdict"]["value"] == pytest.approx(fmean(trials["each"]))
    assert metrics["process_verdict"]["value"] == pytest.approx(trials["pass_at"]["1"]["value"])
    assert trials["pass_all"]["4"]["value"] < trials["pass_at"]["1"]["value"] < trials["pass_at"]["4"]["value"]
    assert trials["variance"]["sampling"] > 0 and metrics["detectable"]["same_instructions"] > 0
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert all(words in text for words in ("solved in one of 4", "Variance of one trial", "points"))

    # The plan has the first trials' seeds again: what is there is not made anew, and other settings are refused.
    (tmp_path / "metrics.json").unlink()
    lines = tmp_path / "trials" / "2" / "rollouts.jsonl"
    lines.write_bytes(lines.read_bytes()[:-30])
    backend = by_seed(suite)
    again = evaluate_model(suite, backend, tmp_path, config=config, progress=False)
    assert again["trials"] == trials
    assert len({text.split("\nUSER: ")[1].split("\n")[0] for text in backend.shown}) == 1
    with pytest.raises(SettingsMismatchError):
        evaluate_model(suite, by_seed(suite), tmp_path, config=config, seed=5, progress=False)


def test_a_verdict_by_answers_is_not_the_one_by_rule() -> None:
    """BFCL's trials are solved by its answers; the rate of the process verdict is that of the verdicts."""
    rows = [
        [{"api": "a", "ast": ast, "process_verdict": said}]
        for ast, said in ((True, "No"), (True, "No"), (False, "Yes"))
    ]
    (merged,) = merge_trials(rows, ("ast",))
    assert merged["trials"] == [True, True, False] and merged["ast"] == pytest.approx(2 / 3)
    metrics = aggregate([merged], "bfcl", "m")
    assert metrics["process_verdict"]["value"] == pytest.approx(1 / 3)
    assert metrics["calls"]["ast"]["value"] == pytest.approx(2 / 3)


def test_compare_says_what_it_can_show(suite: Suite, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        config = EvaluationConfig(temperature=0.7, trials=4, seed=seed, limit=20)
        evaluate_model(suite, by_seed(suite), tmp_path / name, config=config, progress=False)
    single = EvaluationConfig(limit=20)
    evaluate_model(suite, by_seed(suite), tmp_path / "c", config=single, progress=False)
    found = compare([tmp_path / "a", tmp_path / "b"])
    (difference,) = found["differences"]
    assert difference["rates"]["process_verdict"]["difference"] == pytest.approx(0, abs=0.2)
    assert difference["detectable"]["difference"] > 0.03 and difference["detectable"]["trials"] is not None
    assert "4 times in 5" in comparison_markdown(found)
    assert "trials" not in compare([tmp_path / "a", tmp_path / "c"])["differences"][0]["detectable"]

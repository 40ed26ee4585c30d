"""A language model as judge of attempts, on any OpenAI-compatible chat server."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..errors import OptionError
from ..llm import LLMError
from ..metrics import JudgePrompt, judge_prompt, own_prompt, parse_verdict, reminder
from ..storage import JsonlLog
from .suite import Attempt

GIVE_UP = 10  # after so many requests in a row that a server failed to answer, no more are sent

MALFORMED = "no verdict could be read in what the judge wrote"


@dataclass(eq=False, repr=False)
class Judge:
    """A model that judges whether the process and the response of attempts are correct.

    The key appears in no error, file or `repr`.

    Args:
        base_url, model (`str`): The server, such as `http://127.0.0.1:8000/v1`, and the model's name there.
        prompt ([`JudgePrompt`], *optional*): Ours by default; see also [`published_prompt`].
        api_key (`str`, *optional*): Defaults to the environment's `TOOLALPACA_JUDGE_API_KEY`, else
            `TOOLALPACA_API_KEY`, else `OPENAI_API_KEY`.
        temperature, seed (*optional*): `None` leaves them to the server. Each retry increments the seed.
        retries (`int`, *optional*, defaults to 2): Where no verdict can be parsed, and of a request on 429, 5xx,
            timeouts (of `timeout` seconds) and broken connections.

    Raises a [`ToolAlpacaError`] if the URL is invalid, the key cannot be sent, or the client is not installed.

    Example:

    ```python
    >>> judge = Judge("http://127.0.0.1:8000/v1", "gpt-4")  # doctest: +SKIP
    >>> judge.judge(attempts, "runs/x")["eval_real/tides/0"]["process"]  # doctest: +SKIP
    'Yes'
    ```
    """

    base_url: str
    model: str
    prompt: JudgePrompt = field(default_factory=own_prompt)
    concurrency: int = 8
    api_key: InitVar[str | None] = None
    temperature: float | None = 0.0
    retries: int = 2
    timeout: float = 120.0
    max_tokens: int = 2048
    seed: int | None = 0

    def __post_init__(self, api_key: str | None) -> None:
        from ..llm import KEY_VARIABLES, ModelClient  # the client's library is heavy

        if self.concurrency < 1 or self.retries < 0:
            raise OptionError("a judge needs a concurrency of 1 or more, and retries of 0 or more")
        names = ("TOOLALPACA_JUDGE_API_KEY", *KEY_VARIABLES)
        server = (self.base_url, self.model, api_key, self.timeout, self.retries)
        self._client = ModelClient(*server, key_variables=names, concurrency=self.concurrency, give_up=GIVE_UP)

    def reseed(self, offset: int) -> None:
        """Ask from now on for other answers to the same questions."""
        # Beyond the seeds of retries, so that no answer is taken for two verdicts.
        self.seed = (self.seed or 0) + offset * (self.retries + 1)

    def judge_settings(self) -> dict[str, Any]:
        """What determines the verdicts, for the record; without the key."""
        names = ("model", "temperature", "seed", "max_tokens", "retries")
        settings = {"endpoint": self._client.base_url} | {name: getattr(self, name) for name in names}
        return settings | {"prompt": self.prompt.name, "prompt_hash": self.prompt.hash}

    def judge(self, attempts: Sequence[Attempt], folder: str | Path) -> dict[str, dict[str, Any]]:
        """Judge attempts. Called again after a kill, it resumes and asks nothing twice: `verdicts.jsonl` in the folder
        keeps every answer.

        An attempt that failed or made no call is not sent and has no verdict, as in the published evaluation. After
        ten consecutive failures of the server, which do not raise, the rest is left for a later call.

        Returns:
            `dict[str, dict]`: By instruction id, in the order of `attempts`: `process` and `response` (`"Yes"`,
                `"No"`, `"Uncertain"`, or both `None` without a verdict), `text` (the last answer), `error` (why there
                is no verdict, else empty) and `tries` (parsed answers).
        """
        self._client.failures = 0
        with JsonlLog(Path(folder) / "verdicts.jsonl", "key", skip_damaged=True) as answers:
            pool = ThreadPoolExecutor(self.concurrency)
            try:
                results = pool.map(lambda attempt: self._one(attempt, answers), attempts)
                bar = tqdm(results, total=len(attempts), desc="judging", unit="attempt", disable=None)
                return {attempt.instruction.id: result for attempt, result in zip(attempts, bar, strict=True)}
            finally:
                # Something is left only where this was interrupted: what is under way ends, the rest is not begun.
                pool.shutdown(cancel_futures=True)

    def answer(self, prompt: str) -> str:
        """The answer to a prompt, without thinking and unstored: the `judge` of the metric `llm_judge`."""
        self._client.failures = 0
        return self._ask([{"role": "user", "content": prompt}], self.seed)

    def _one(self, attempt: Attempt, answers: JsonlLog) -> dict[str, Any]:
        """One attempt's verdict, whatever the server does."""
        nothing = {"process": None, "response": None, "text": "", "tries": 0}
        trajectory = attempt.trajectory
        if attempt.failed or trajectory is None or not trajectory.steps:
            reason = attempt.error or ("it called nothing" if trajectory and not attempt.failed else attempt.ended)
            return nothing | {"error": f"not judged: {reason}"}
        shown = (attempt.api, attempt.instruction, trajectory.steps, trajectory.response)
        messages = [{"role": "user", "content": judge_prompt(*shown, prompt=self.prompt)}]
        identity = {"model": self.model, "temperature": self.temperature, "prompt_hash": self.prompt.hash}
        text, tries = "", 0
        for tries in range(1, self.retries + 2):
            seed = None if self.seed is None else self.seed + tries - 1
            asked = [self.model, self.temperature, self.max_tokens, seed, messages]
            key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
            row = answers.rows.get(key, {})
            if not isinstance(row.get("text"), str):
                try:
                    row = {"text": self._ask(messages, seed)}
                except LLMError as error:
                    return nothing | {"text": text, "error": str(error), "tries": tries - 1}
                answers.append({"key": key, "id": attempt.instruction.id, "try": tries, **identity, **row})
            text = row["text"]
            verdict = parse_verdict(text)
            if not verdict.malformed:
                return {**verdict._asdict(), "text": text, "error": "", "tries": tries}
            # Some servers refuse a message without content.
            said = {"role": "assistant", "content": text or "(nothing)"}
            messages = [messages[0], said, {"role": "user", "content": reminder()}]
        return nothing | {"text": text, "error": MALFORMED, "tries": tries}

    def _ask(self, messages: list[dict[str, Any]], seed: int | None) -> str:
        answer = self._client.answer(
            messages, max_tokens=self.max_tokens, temperature=self.temperature, seed=seed, attempts=1
        )
        return answer.text.strip()


def unjudged(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on what has no verdict and why; empty if everything has one."""
    reasons = Counter(verdict["error"] for verdict in verdicts.values() if verdict["error"])
    if not reasons:
        return ""
    shown = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common(3))
    shown += "; and others" if len(reasons) > 3 else ""
    absent = f"{reasons.total()} of {len(verdicts)} instructions have no verdict ({shown})"
    return f"{absent}; the same command asks again where the server failed"

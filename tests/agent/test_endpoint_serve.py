"""The endpoint backend against `transformers serve`, which somebody else wrote.

Slow: the server and what it is taught take half a minute before the first test. `test_endpoint.py` has the same
protocol against a server of ours.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import teach, transformers_serve
from tiny_models import save_tiny_llama, save_tiny_qwen3
from transformers import AutoTokenizer

from toolalpaca_hf.agent import AWAY, ChatContext, Completion, EndpointBackend, ModelUser, ReactContext
from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.formats import react_prompt
from toolalpaca_hf.schema import Api, Step

pytestmark = pytest.mark.slow
TIDES = Api("train/tides", "Tides")
ASK = "When is high tide in Brest?"
CALL = ' The port is known.\nAction: findTide\nAction Input: {"port": "Brest"}'
NATIVE = '<tool_call>\n{"name": "findTide", "arguments": {"port": "Brest"}}\n</tool_call>'
LOOK = Step("I look it up.", "findTide", '{"port": "Brest"}', "12:00")


def chat_prompt(folder: Path, context: ChatContext, **left_out: Any) -> str:
    """What the server's chat template makes of a conversation."""
    messages = [{**message, **(left_out if "tool_calls" in message else {})} for message in context.messages]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.apply_chat_template(messages, tools=context.tools, add_generation_prompt=True, tokenize=False)


def second_chat_turn() -> ChatContext:
    context = ChatContext.begin(TIDES, ASK)
    context.add(LOOK)
    return context


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A ReAct model that goes on writing past its turn, and chat models with native calls."""
    folder = tmp_path_factory.mktemp("models")
    react = save_tiny_llama(folder / "react")
    teach(react, [(ReactContext.begin(react_prompt(), TIDES, ASK).text, f"{CALL}\nObservation: At noon<|im_end|>")])
    chat = save_tiny_qwen3(folder / "chat")
    # The server leaves out what an assistant says beside a call.
    lessons = [
        (chat_prompt(chat, ChatContext.begin(TIDES, ASK)), f"I look it up.\n{NATIVE}<|im_end|>"),
        (chat_prompt(chat, second_chat_turn(), content=""), "High tide is at noon.<|im_end|>"),
    ]
    teach(chat, lessons)
    # The server knows the marks of no Llama, so it hands its calls over as text.
    tokenizer = AutoTokenizer.from_pretrained(chat)
    llama = save_tiny_llama(folder / "llama", tokenizer)
    teach(llama, lessons)
    return {"react": react, "chat": chat, "llama": llama}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_serve(tmp_path_factory.mktemp("serve") / "log.txt") as url:
        yield url


def test_a_react_turn_ends_at_the_stop_text(url: str, taught: dict[str, Path]) -> None:
    backend = EndpointBackend(url, str(taught["react"]))
    backend.check()
    context = ReactContext.begin(react_prompt(), TIDES, ASK)
    [written] = backend.generate([context], 64)
    assert (written.text, written.cut) == (CALL, False)
    assert (written.turn.action, written.turn.arguments) == ("findTide", {"port": "Brest"})
    # The server stopped there, too: the model itself would have gone on.
    tokenizer = AutoTokenizer.from_pretrained(taught["react"])
    assert len(tokenizer(CALL)["input_ids"]) < written.tokens <= len(tokenizer(f"{CALL}\nObservation:")["input_ids"])
    [cut] = backend.generate([context], 5)
    assert cut.cut and cut.tokens == 5 and CALL.startswith(cut.text)


@pytest.mark.parametrize("model", ["chat", "llama"])
def test_a_chat_model_calls_and_then_answers(url: str, taught: dict[str, Path], model: str) -> None:
    backend = EndpointBackend(url, str(taught[model]), "chat")
    backend.check()
    [first] = backend.generate([ChatContext.begin(TIDES, ASK)], 64)
    assert (first.turn.thought, first.turn.action) == ("I look it up.", "findTide")
    assert first.turn.arguments == {"port": "Brest"} and not first.cut
    [last] = backend.generate([second_chat_turn()], 64)
    assert last.turn.response == "High tide is at noon."
    assert last.tokens == len(
        AutoTokenizer.from_pretrained(taught[model])("High tide is at noon.<|im_end|>")["input_ids"]
    )


def test_many_rollouts_at_once_get_what_each_gets_alone(url: str, taught: dict[str, Path]) -> None:
    backend = EndpointBackend(url, str(taught["react"]), concurrency=4)
    contexts = [ReactContext.begin(react_prompt(), TIDES, f"{ASK} {'Please. ' * i}") for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: backend.generate([one], 24)[0].text, contexts))
    assert together == [one.text for one in backend.generate(contexts, 24)]


def test_what_the_server_refuses(url: str, taught: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ToolAlpacaError, match="its own log says why"):
        EndpointBackend(url, str(tmp_path / "nothing"), retries=0).check()
    with pytest.raises(ToolAlpacaError, match="--style chat"):
        EndpointBackend(url.removesuffix("/v1"), str(taught["react"])).check()
    with pytest.raises(ToolAlpacaError, match="its own log says why"):  # this model has no chat template
        EndpointBackend(url, str(taught["react"]), "chat", retries=0).check()
    user = ModelUser.at_endpoint(url, str(tmp_path / "nothing"), retries=0)
    assert user.answer(ASK, "Which port?") == AWAY and user.failures == 1


@pytest.mark.slow
def test_smollm2(url: str) -> None:
    """Real weights: the texts are those of `generate` in this process, cut at the stop."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = resolve_model("smollm2")
    shots = "".join(
        f'USER: {word}?\nThought: I look up {word}.\nAction: find\nAction Input: {{"q": "{word}"}}\n'
        f"Observation: {word} is there.\nThought: I know.\nResponse: There.\n\n"
        for word in ("bread", "salt", "milk")
    )
    contexts = []
    for word in ("sugar", "tea", "rice"):
        context = ReactContext.begin(react_prompt(), TIDES, ASK)
        context.segments = [type(context.segments[0])(f"{shots}USER: {word}?\nThought:", False)]
        contexts.append(context)
    backend = EndpointBackend(url, folder, timeout=300.0)
    written = backend.generate(contexts, 48)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for context, one in zip(contexts, written, strict=True):
        assert isinstance(one, Completion), one
        ids = tokenizer(context.text, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=48, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert one.text == tokenizer.decode(out, skip_special_tokens=True).split("\nObservation:")[0]
        assert one.turn.action == "find" and one.turn.arguments is not None and one.tokens < 48
    [answer] = EndpointBackend(url, folder, "chat", timeout=300.0).generate(
        [ChatContext([{"role": "user", "content": "Say hello."}])], 24
    )
    assert answer.turn.response and answer.tokens <= 24
    user = ModelUser.at_endpoint(url, folder, timeout=300.0)
    said = user.answer(ASK, "Which port do you mean?", "The port is Brest.")
    assert user.failures == 0 and said and "\n" not in said

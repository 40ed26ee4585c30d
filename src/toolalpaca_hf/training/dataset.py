"""Loads the rows to train on, those to hold out, and one to look at."""

import os
import random
from typing import Any, cast

from datasets import Dataset, IterableDataset, get_dataset_config_names, get_dataset_split_names, load_dataset
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub.errors import HfHubHTTPError
from transformers import PreTrainedTokenizerBase

from ..checkpoints import check_dataset
from ..data import ToolAlpaca
from ..errors import InputError, NotFoundError, OptionError, UnsupportedModelError
from ..formats import react_prompt
from ..report import token_texts
from ..schema import SPLITS
from .augmentation import augment_dataset
from .config import SegmentScriptArguments, SegmentSFTConfig
from .loading import tools_of, without_absent
from .proof import Prover, Refused, ways_of
from .tokenize import IGNORE, SegmentTokenizer

Rows = Dataset | IterableDataset
COLUMNS = {"chat": ["messages", "tools"], "sft": ["id", "api", "segments"]}
_BUILD = "build a folder with dataset_scripts/toolalpaca.py or, for texts with calls, dataset_scripts/toolformer.py"


def load_examples(script_args: SegmentScriptArguments, training_args: SegmentSFTConfig) -> dict[str, Rows]:
    """Load a recipe's rows by split, held out and augmented as configured, in the first process first.

    Raises:
        [`NotFoundError`], [`InputError`]: The dataset, config or split does not exist, or has another layout.
        [`OptionError`]: Two options contradict each other.
    """
    name, config = script_args.dataset_name, script_args.dataset_config or "sft"
    with training_args.main_process_first(local=False, desc="data"):  # it fills the caches that the others read
        train = load_split(script_args, config, script_args.dataset_train_split)
        if train is None:
            problem = f"config {config} has no split {script_args.dataset_train_split!r}"
            raise NotFoundError(problem, file=name, option="dataset_train_split")
        wanted = COLUMNS.get(config, COLUMNS["sft"])
        known = wanted if train.column_names is None else train.column_names
        if missing := [column for column in wanted if column not in known]:
            raise InputError(f"config {config} has no column {', '.join(missing)}", file=name, fix=_BUILD)
        augmented, more = script_args.augment_copies, script_args.augment_descriptions
        asked = {"augment_copies": augmented, "augment_descriptions": more, "tool_hints": training_args.tool_hints}
        option = next((name for name, count in asked.items() if count), "")
        if option and config == "chat":
            raise OptionError("is for rows of segments", option=option, fix="leave it out, or train on the config sft")
        if option and not augmented:
            raise OptionError("needs augmented copies", option=option, fix="set augment_copies")
        if isinstance(train, IterableDataset) and (augmented or training_args.packing or training_args.prefix_packing):
            problem = "a stream is neither packed nor augmented here"
            raise OptionError(problem, option="dataset_streaming", fix="set it to false")
        rows: dict[str, Rows] = {}
        if training_args.eval_strategy != "no" or script_args.eval_fraction:
            if script_args.dataset_test_split == script_args.dataset_train_split:
                fix = "name another split"
                raise OptionError("is the split that is trained on", option="dataset_test_split", fix=fix)
            held_out = load_split(script_args, config, script_args.dataset_test_split)
            if held_out is None:
                if not isinstance(train, Dataset):
                    fix = "name its test split or set no"
                    raise OptionError("a stream cannot be split", option="eval_strategy", fix=fix)
                train, held_out = hold_out(train, script_args.eval_fraction or 0.1, training_args.seed)
            rows[script_args.dataset_test_split] = held_out.select_columns(wanted)
        train = train.select_columns(wanted)
        if augmented and isinstance(train, Dataset):
            how, copies = script_args.augmentation(training_args.tool_hints), script_args.augment_copies
            shared, descriptions = training_args.prefix_packing, script_args.augment_descriptions
            train = augment_dataset(train, how, copies, training_args.seed, shared, descriptions)
    return {script_args.dataset_train_split: train, **rows}


def load_split(script_args: SegmentScriptArguments, config: str, split: str) -> Rows | None:
    """The rows of a split, or `None` if the dataset lacks it."""
    name = os.path.expanduser(script_args.dataset_name or "sample")
    if name == "sample":
        if config not in SPLITS:
            raise NotFoundError(f"no config {config!r}, only {', '.join(SPLITS)}", file=name, option="dataset_config")
        builder = ToolAlpaca(config_name=config, source="sample")
        builder.download_and_prepare()
        return cast(Dataset, builder.as_dataset(split=split)) if split in (builder.info.splits or {}) else None
    check_dataset(name, _BUILD, "dataset_name")
    try:
        configs = get_dataset_config_names(name)
        if config not in configs:
            problem = f"no config {config!r}, only {', '.join(configs)}"
            raise NotFoundError(problem, file=name, option="dataset_config", fix=_BUILD)
        if split not in get_dataset_split_names(name, config):
            return None
        return cast(Rows, load_dataset(name, config, split=split, streaming=bool(script_args.dataset_streaming)))
    except (DatasetNotFoundError, FileNotFoundError, HfHubHTTPError, ConnectionError) as error:
        problem = f"neither a folder nor available on the Hub ({str(error).partition(chr(10))[0]})"
        raise NotFoundError(problem, file=name, option="dataset_name", fix=_BUILD) from None
    except (ValueError, DatasetsError) as error:  # what is wrong with a file is said at the bottom
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        why = " ".join(str(cause).split())[:300] or type(cause).__name__
        raise InputError(f"config {config} cannot be read ({why})", file=name, fix=_BUILD) from None


def hold_out(rows: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split off the rows of a share of the APIs, at least one; a row without `api` counts as an API of its own."""
    # Rows of one's own making may lack the columns.
    named = {name: rows[name] if name in rows.column_names else [None] * len(rows) for name in ("api", "id")}
    owner = [str(api or row or place) for place, (api, row) in enumerate(zip(*named.values(), strict=True))]
    apis = sorted(set(owner))
    random.Random(seed).shuffle(apis)
    held = set(apis[: max(1, round(fraction * len(apis)))])
    if len(held) >= len(apis):
        raise OptionError(f"{fraction} of {len(apis)} APIs leaves none to train on", option="eval_fraction")
    kept, left_out = ([i for i, api in enumerate(owner) if (api in held) is out] for out in (False, True))
    return rows.select(kept), rows.select(left_out)


def masked_row(
    dataset: str, row: int, tokenizer: PreTrainedTokenizerBase, config: str = "sft", split: str = "train"
) -> tuple[str, list[tuple[str, bool]]]:
    """The id of a row of a dataset (`sample`, a folder or a Hub id), its tokens' texts, and which are trained.

    Raises:
        [`NotFoundError`], [`OptionError`]: There is no such dataset or config, or no such row.
        [`UnsupportedModelError`]: The chat template of the tokenizer cannot be masked.
    """
    rows: Any = load_split(SegmentScriptArguments(dataset_name=dataset, dataset_config=config), config, split)
    if rows is None:
        raise OptionError(f"config {config} has no split {split!r}", option="--split")
    if not 0 <= row < len(rows):
        raise OptionError(f"the split has the rows 0 to {len(rows) - 1:,}", option="--row")
    found = rows[row]
    if "segments" in found:
        encoded = SegmentTokenizer(tokenizer).encode(found["segments"])
        ids, trained = encoded["input_ids"], [label != IGNORE for label in encoded["labels"]]
    elif "messages" in found:
        ways, closed = ways_of(tokenizer, react_prompt(), config="chat")
        try:
            if closed:
                raise Refused(closed["chat"])
            found = next(iter(without_absent(rows.select([row]).to_iterable_dataset())))
            prover = Prover(ways[0])
            prover.tools = tools_of(found)
            encoded = prover.train(found["messages"])
        except Exception as error:  # a template, or a row, may be anything
            problem = f"its chat template cannot be masked: {error}"
            fix = "pass --config sft, or a --tokenizer that TRL has a training template for"
            raise UnsupportedModelError(problem, file=tokenizer.name_or_path or None, fix=fix) from None
        ids, trained = encoded.ids, encoded.trained
    else:
        problem = f"config {config} has neither segments nor messages"
        raise InputError(problem, file=dataset, fix="pass --config sft or chat")
    return str(found.get("id") or f"row {row}"), token_texts(ids, trained, lambda some: str(tokenizer.decode(some)))

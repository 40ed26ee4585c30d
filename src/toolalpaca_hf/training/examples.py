"""From a dataset's name to what `SFTTrainer` takes: rows, held-out rows, and the collator that goes with them."""

import random
from collections.abc import Callable

from datasets import Dataset, IterableDataset, get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig

from ..data import ToolAlpaca
from ..errors import ToolAlpacaError
from ..schema import SPLITS
from .arguments import SftArguments
from .collate import CompletionOnlyCollator
from .copies import augmented
from .lengths import tokenize_dataset
from .prefixes import PrefixCollator, share_prefixes
from .tokenize import SegmentTokenizer


def load_rows(arguments: SftArguments, split: str) -> Dataset | IterableDataset | None:
    """Rows of one split of the dataset a recipe names.

    Args:
        arguments (`SftArguments`): Names dataset and config.
        split (`str`): The split.

    Returns:
        `Dataset` or `IterableDataset`: The rows, or `None` where the dataset has no such split.

    Raises:
        ToolAlpacaError: There is no such dataset or config.

    Example:

    ```python
    >>> load_rows(SftArguments(), "train").column_names  # doctest: +SKIP
    ['id', 'api', 'segments']
    ```
    """
    name, config = arguments.dataset_name, arguments.dataset_config
    if name == "sample":
        if config not in SPLITS:
            raise ToolAlpacaError(f"the embedded corpus has no config {config!r}, only {', '.join(SPLITS)}")
        builder = ToolAlpaca(config_name=config, source="sample")
        builder.download_and_prepare()
        return builder.as_dataset(split=split) if split in builder.info.splits else None
    try:
        configs = get_dataset_config_names(name)
        if config not in configs:
            raise ToolAlpacaError(
                f"the dataset {name} has no config {config!r}, only {', '.join(configs)}; "
                "build it with dataset_scripts/toolalpaca.py or, for texts with calls, dataset_scripts/toolformer.py"
            )
        return load_dataset(name, config, split=split, streaming=arguments.dataset_streaming)
    except (DatasetNotFoundError, FileNotFoundError, HfHubHTTPError, ConnectionError) as error:
        raise ToolAlpacaError(
            f"the dataset {name} is neither a folder nor to be had from the Hub ({str(error).splitlines()[0]}); build a "
            "folder with `python dataset_scripts/toolalpaca.py --source sample --out build/sample` or, for texts with "
            "calls, `python dataset_scripts/toolformer.py --source annotated/ --out build/toolformer`"
        ) from None
    except ValueError as error:  # datasets raises it for a split that is not there
        if "Unknown split" in str(error) or "Bad split" in str(error):
            return None
        raise ToolAlpacaError(f"the dataset {name}, config {config}: {error}") from None


def hold_out(rows: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Hold out the rows of some APIs, whole APIs at a time, so that nothing of their documentation is trained on.

    Args:
        rows (`Dataset`): Rows with `id` and `api`; a row without API counts as an API of its own.
        fraction (`float`): Share of the APIs, at least one.
        seed (`int`): Which ones.

    Returns:
        `tuple[Dataset, Dataset]`: Training rows and held-out rows.

    Raises:
        ToolAlpacaError: The fraction leaves no API to train on.

    Example:

    ```python
    >>> rows = Dataset.from_dict({"id": ["a/0", "b/0"], "api": ["a", "b"]})
    >>> [len(part) for part in hold_out(rows, 0.5, seed=0)]
    [1, 1]
    ```
    """
    owner = [api or row for api, row in zip(rows["api"], rows["id"], strict=True)]
    apis = sorted(set(owner))
    random.Random(seed).shuffle(apis)
    held = set(apis[: max(1, round(fraction * len(apis)))])
    if len(held) >= len(apis):
        raise ToolAlpacaError(f"eval_fraction {fraction} of {len(apis)} APIs leaves none to train on; lower it")
    return (
        rows.select([i for i, api in enumerate(owner) if api not in held]),
        rows.select([i for i, api in enumerate(owner) if api in held]),
    )


def prepare(
    arguments: SftArguments, config: SFTConfig, tokenizer: PreTrainedTokenizerBase, log: Callable[[str], None] = print
) -> tuple[Dataset | IterableDataset, Dataset | None, CompletionOnlyCollator | PrefixCollator | None]:
    """Everything `SFTTrainer` needs to know about the data of a recipe.

    Unpacked rows go through [`CompletionOnlyCollator`]; TRL refuses a collator when it packs, so packed rows have their
    labels made ahead and are packed by TRL. `chat` rows are left to TRL altogether. `config` is completed accordingly.

    Args:
        arguments (`SftArguments`): The data.
        config (`SFTConfig`): The training settings; `dataset_kwargs`, `remove_unused_columns` and `eval_strategy` are
            set where the data asks for it.
        tokenizer (`PreTrainedTokenizerBase`): With end-of-sequence and padding token.
        log (`Callable`, *optional*, defaults to `print`): Gets one sentence about each set of rows.

    Returns:
        `tuple`: Training rows, evaluation rows or `None`, and the collator or `None` (TRL's own).

    Raises:
        ToolAlpacaError: The dataset is missing, is of another layout, or no row is left.

    Example:

    ```python
    >>> train, held_out, collator = prepare(SftArguments(), SFTConfig("run"), tokenizer)  # doctest: +SKIP
    ```
    """
    train = load_rows(arguments, arguments.dataset_train_split)
    if train is None:
        raise ToolAlpacaError(
            f"the dataset {arguments.dataset_name}, config {arguments.dataset_config}, has no split "
            f"{arguments.dataset_train_split!r}"
        )
    wanted = ["messages", "tools"] if arguments.dataset_config == "chat" else ["id", "api", "segments"]
    missing = [column for column in wanted if column not in (train.column_names or wanted)]
    if missing:
        raise ToolAlpacaError(
            f"the dataset {arguments.dataset_name}, config {arguments.dataset_config}, has no column "
            f"{' and no column '.join(missing)}; train on the config sft or chat of a dataset that "
            "dataset_scripts/toolalpaca.py or dataset_scripts/toolformer.py wrote"
        )
    if arguments.prefix_packing and (config.packing or config.padding_free or config.eval_packing):
        raise ToolAlpacaError(
            "prefix_packing takes the place of packing, eval_packing and padding_free; set one of them to false"
        )
    held_out = None
    if config.eval_strategy != "no" or arguments.eval_fraction:
        held_out = load_rows(arguments, arguments.dataset_test_split)
        if held_out is None and isinstance(train, IterableDataset):
            raise ToolAlpacaError("a streaming dataset can not be split; name its test split or set eval_strategy: no")
        if held_out is None:
            train, held_out = hold_out(train, arguments.eval_fraction or 0.1, config.seed)
    if arguments.dataset_config == "chat":
        if tokenizer.chat_template is None and config.chat_template_path is None:
            raise ToolAlpacaError(
                "the config chat needs a chat template and the tokenizer has none; choose a chat model, pass "
                "--chat_template_path, or train on the config sft"
            )
        collator = None
        if arguments.prefix_packing:
            if isinstance(train, IterableDataset):
                raise ToolAlpacaError("a streaming dataset is not packed here; set dataset_streaming: false")
            config.remove_unused_columns = False
            collator = PrefixCollator(tokenizer.pad_token_id)
        return train.select_columns(wanted), held_out.select_columns(wanted) if held_out else None, collator

    if arguments.tool_hints and not arguments.augment_copies:
        raise ToolAlpacaError("tool_hints are rendered into augmented copies; set augment_copies to 1 or more")
    # Beside the chat template, where `run` and `evaluate` find it again, in an adapter's folder too.
    tokenizer.init_kwargs["tool_hints"] = arguments.tool_hints
    settings = (config.max_length, arguments.overlong, arguments.parse_special_tokens)
    if isinstance(train, IterableDataset):
        if config.packing or arguments.augment_copies or arguments.prefix_packing:
            raise ToolAlpacaError(
                "a streaming dataset is neither packed nor augmented here; set dataset_streaming: false"
            )
        if config.max_steps <= 0:
            raise ToolAlpacaError("the length of a streaming dataset is not known; set max_steps")
        segment_tokenizer = SegmentTokenizer(tokenizer, *settings)
        train = train.filter(segment_tokenizer.keeps)
        held_out = held_out.filter(segment_tokenizer.keeps) if held_out is not None else None
        if next(iter(train), None) is None:
            raise ToolAlpacaError("no row is left to train on; raise max_length or use shorter documentation")
        # One endless stream: a run resumed in its second pass skips what it has seen, and not what is there.
        train = train.repeat(None)
        _leave_preparation_to_us(config)
        log("Training rows are streamed; rows over the limit are cut or dropped as they come.")
        return train, held_out, CompletionOnlyCollator(segment_tokenizer, config.pad_to_multiple_of)
    if arguments.augment_copies:
        train = augmented(
            train,
            arguments.augmentation,
            arguments.augment_copies,
            config.seed,
            shared=arguments.prefix_packing,
            descriptions=arguments.augment_descriptions,
        )
    train, report = tokenize_dataset(train, tokenizer, *settings, num_proc=config.dataset_num_proc)
    log(f"Training rows: {report}")
    if held_out is not None:
        held_out, report = tokenize_dataset(held_out, tokenizer, *settings, num_proc=config.dataset_num_proc)
        log(f"Held-out rows: {report}")
    if arguments.prefix_packing:
        tokens = sum(len(ids) for ids in train["input_ids"])
        train = share_prefixes(train, arguments.prefix_packing_tokens)
        kept = sum(len(ids) for ids in train["input_ids"])
        log(f"Common beginnings computed once: {len(train):,} sequences of {kept:,} tokens in place of {tokens:,}.")
        _leave_preparation_to_us(config)
        return train, held_out, PrefixCollator(tokenizer.pad_token_id)
    if config.packing:
        return train, held_out, None
    _leave_preparation_to_us(config)
    return train, held_out, CompletionOnlyCollator(SegmentTokenizer(tokenizer, *settings), config.pad_to_multiple_of)


def _leave_preparation_to_us(config: SFTConfig) -> None:
    config.dataset_kwargs = {**(config.dataset_kwargs or {}), "skip_prepare_dataset": True}
    config.remove_unused_columns = False

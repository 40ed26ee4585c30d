"""Recipe fields beyond TRL's own `ScriptArguments`, `SFTConfig` and `ModelConfig`."""

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml
from transformers import TrainingArguments
from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser

from ..errors import InputError, NotFoundError, OptionError
from ..precision import fastest, gflops
from ..storage import LONGEST_YAML
from .augmentation import Augmentation


def _field(default: Any, text: str, choices: Sequence[str] = ()) -> Any:
    return field(default=default, metadata={"help": text, **({"choices": list(choices)} if choices else {})})


def _check_fields(config: Any, kind: Any) -> None:
    """Reject values that the fields a class adds cannot have; argparse looks at none that come from YAML or Python."""
    for name in kind.__annotations__:
        spec, value = kind.__dataclass_fields__[name], getattr(config, name)
        if choices := spec.metadata.get("choices"):
            if value not in choices:
                raise OptionError(f"is {value!r}", option=name, fix=f"pass one of {', '.join(choices)}")
        elif type(spec.default) is int and not (type(value) is int and value >= 0):
            raise OptionError(f"is {value!r}", option=name, fix="pass a whole number, 0 or more")
        elif type(spec.default) is float and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise OptionError(f"is {value!r}", option=name, fix="pass a number from 0 to 1")


@dataclass
class SegmentScriptArguments(ScriptArguments):
    """TRL's `ScriptArguments` with the data of a training run; `augment_*` fields are those of [`Augmentation`]."""

    dataset_name: str | None = _field("sample", "`sample`, a folder written by `dataset_scripts/`, or a Hub id.")
    dataset_config: str | None = _field("sft", "`sft` (segments) or `chat` (messages and tools, prepared by TRL).")
    eval_fraction: float = _field(0.0, "Share of the APIs held out, where there is no split `dataset_test_split`.")
    augment_copies: int = _field(0, "With a positive number: so many augmented copies of each row, in its place.")
    augment_descriptions: int = _field(0, "Of each documentation, also so many descriptions as instructions.")
    augment_min_functions: int = _field(Augmentation.min_functions, "Fewest functions that a copy shows.")
    augment_max_functions: int = _field(Augmentation.max_functions, "Most functions that a copy shows.")
    augment_max_documentation: int = _field(Augmentation.max_documentation, "Longest documentation, in characters.")
    augment_max_observation: int = _field(Augmentation.max_observation, "Longest observation, in characters.")
    augment_mask_names: float = _field(Augmentation.mask_names, "Probability of random names.")
    augment_restyle_names: float = _field(0.0, "Probability of names in other conventions.")
    augment_first_turns: float = _field(0.0, "Probability that a copy ends after one action.")

    def __post_init__(self) -> None:
        _check_fields(self, SegmentScriptArguments)

    def augmentation(self, tool_hints: int) -> Augmentation:
        names = {spec.name for spec in fields(Augmentation)} - {"tool_hints"}
        return Augmentation(tool_hints=tool_hints, **{name: getattr(self, f"augment_{name}") for name in names})


@dataclass
class SegmentSFTConfig(SFTConfig):
    """TRL's `SFTConfig` with settings for segments.

    Raises:
        [`OptionError`]: `prefix_packing` is combined with TRL's own packing, `trust_remote_code` is set, or a field
            has a value that it cannot have.
    """

    overlong: str = _field("cut", "Rows beyond `max_length`: `cut` whole steps, or `drop`.", ("cut", "drop"))
    # TRL's default trains on observations and on the user's words.
    assistant_only_loss: bool | None = _field(  # pyright: ignore[reportIncompatibleVariableOverride]
        None, "Train only what the assistant wrote of a conversation; by default for the config `chat`."
    )
    parse_special_tokens: bool = _field(False, "Read text such as `</s>` as the token.")
    tool_hints: int = _field(0, "With copies: name so many functions nearest to the instruction; kept for `run`.")
    prompt_dir: str | None = _field(None, "Folder with upstream's agent/ files, for rows in the published prompt.")
    prove_template: bool = _field(True, "Train only if the saved template gives a model the ids it is trained on.")
    freeze_layers: int = _field(0, "Freeze the embeddings and the first so many layers: only a forward pass there.")
    prefix_packing: bool = _field(False, "Compute once what rows, and copies of one documentation, begin with.")
    prefix_packing_tokens: int = _field(2048, "Longest such sequence; more tokens share more.")
    prefix_packing_attention: str = _field(
        "auto",
        "`nodes`: a call a node; `mask`: a dense mask; `flex`: FlexAttention, which trains only on GPUs. `auto` is "
        "`nodes` on a CPU where the model computes it exactly, else `mask`.",
        ("auto", "nodes", "mask", "flex"),
    )
    hub_base_model: str | None = _field(None, "With `push_to_hub`: Hub id of a base that was a folder.")
    hub_licence: str | None = _field(None, "With `push_to_hub`: the weights' licence, where it is not known.")

    @classmethod
    def of(cls, args: TrainingArguments | None) -> "SegmentSFTConfig":
        """Other arguments, or none, with our defaults for the rest."""
        if args is None or isinstance(args, cls):
            return args or cls()
        # Not by to_dict, which puts a placeholder for each field named *_token: eos_token too.
        return cls(**{spec.name: getattr(args, spec.name) for spec in fields(args) if spec.init})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fields(self, SegmentSFTConfig)
        others = (self.packing, self.padding_free, self.eval_packing, self.pad_to_multiple_of)
        if self.prefix_packing and any(others):
            problem = "takes the place of packing, eval_packing, padding_free and pad_to_multiple_of"
            raise OptionError(problem, option="prefix_packing", fix="leave one of them out")
        if self.eval_packing and not (self.packing or self.padding_free):
            problem = "without packing, a sequence of several rows would be computed as one"
            raise OptionError(problem, option="eval_packing", fix="leave it out")
        if self.max_length is not None and self.max_length < 2:
            raise OptionError(f"{self.max_length} is no length: one token predicts the other", option="max_length")
        _refuse_remote_code(self)


def _refuse_remote_code(config: Any) -> None:
    asked = (getattr(config, "model_init_kwargs", None) or {}).get("trust_remote_code")
    if asked or getattr(config, "trust_remote_code", False):
        fix = "choose a model whose code is part of transformers"
        raise OptionError("not supported", option="trust_remote_code", fix=fix)


class _Parser(TrlParser):
    def error(self, message: str) -> NoReturn:
        """Argparse's usage would be hundreds of lines here."""
        raise OptionError(message, fix="--help lists the arguments")


def parse_fields(argv: Sequence[str], *kinds: type) -> tuple[Any, ...]:
    """Parse dataclasses without common fields from a command line and its `--config` YAML file; the command line wins.

    Raises:
        [`NotFoundError`], [`InputError`]: The file does not exist, or is not YAML.
        [`OptionError`]: A field or value is unknown, or `trust_remote_code` is set.
    """
    argv = [word for given in argv for word in (given.split("=", 1) if given.startswith("--config=") else [given])]
    at = argv.index("--config") + 1 if "--config" in argv else 0
    if at == len(argv):
        raise OptionError("names no file", option="--config", fix="pass one of recipes/*/*.yaml")
    file = argv[at] if at else None
    if file and Path(file).is_file() and Path(file).stat().st_size > LONGEST_YAML:
        raise InputError(f"has more than {LONGEST_YAML:,} bytes", file=file, fix="pass one of recipes/*/*.yaml")
    # The old names are what TRL sets and asks for, whatever a recipe says.
    warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
    try:
        configs = _Parser(cast(Any, kinds), allow_abbrev=False).parse_args_and_config(argv)
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise NotFoundError(problem, file=file, fix="pass one of recipes/*/*.yaml") from None
    except yaml.YAMLError as error:
        raise InputError(f"not YAML ({error})", file=file) from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise OptionError(f"{error}{_meant(str(error), kinds)}", file=file) from None
    for config in configs:
        _refuse_remote_code(config)
    return configs


def _meant(message: str, kinds: Sequence[type]) -> str:
    """Suggestions for the unknown options in a parser error."""
    known = [spec.name for kind in kinds for spec in fields(kind)] + ["config"]
    words = re.findall(r"(?:--)?([A-Za-z][\w-]{2,})", message.partition(":")[2] or message)
    words = [word for word in dict.fromkeys(word.replace("-", "_") for word in words) if word not in known]
    meant = [f"--{name}" for word in words for name in get_close_matches(word, known, n=1, cutoff=0.75)]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def parse_arguments(argv: Sequence[str]) -> tuple[SegmentScriptArguments, SegmentSFTConfig, ModelConfig]:
    """Parse the command line of `recipes/sft.py`: data, training and model; see [`parse_fields`].

    A `hub_token` is moved to the environment, where the Hub's client looks for it: the arguments are saved.
    """
    script_args, training_args, model_args = parse_fields(argv, SegmentScriptArguments, SegmentSFTConfig, ModelConfig)
    settle_precision(training_args, model_args, argv)
    if training_args.assistant_only_loss is None:
        training_args.assistant_only_loss = script_args.dataset_config == "chat"
    if training_args.hub_token:
        os.environ["HF_TOKEN"], training_args.hub_token = training_args.hub_token, None
    return script_args, training_args, model_args


def _precision_of(folder: Path) -> str:
    """What a training computes with that left checkpoints in a folder; empty without one."""
    with suppress(OSError, ValueError, yaml.YAMLError, AttributeError):
        if any(folder.glob("checkpoint-*")):
            settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
            wide = settings.get("bf16") or settings.get("dtype") == "bfloat16"
            return "bfloat16" if wide else "float32"
    return ""


def settle_precision(training_args: SFTConfig, model_args: ModelConfig, argv: Sequence[str]) -> None:
    """Set float32 for a recipe in bfloat16 on a device slower at it, unless the command line insists; says so once.

    What was begun goes on as it is, unless that takes more than twice as long: checkpoints are of one precision.
    """
    given = {argument.partition("=")[0] for argument in argv}
    wanted = {"--bf16 true": training_args.bf16, "--dtype bfloat16": model_args.dtype == "bfloat16"}
    insist = [option for option, is_wanted in wanted.items() if is_wanted and option.split()[0] not in given]
    kind = training_args.device.type
    if not insist:
        return
    speeds, begun = gflops(kind), _precision_of(Path(str(training_args.output_dir)))
    best = fastest(speeds, kind)
    if (begun if speeds.get(begun, 0) > speeds[best] / 2 else best) == "bfloat16":
        return
    if "--bf16 true" in insist:
        training_args.bf16, training_args.mixed_precision = False, "no"
    if "--dtype bfloat16" in insist:
        model_args.dtype = "float32"
    if training_args.process_index == 0:
        print(
            f"bfloat16 computes {speeds['bfloat16']:.1f} GFLOP/s on this {kind} and float32 {speeds['float32']:.1f}: "
            f"training {'goes on ' if begun == 'float32' else ''}in float32 ({' '.join(insist)} insists)."
        )

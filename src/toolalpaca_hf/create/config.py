"""The settings of `toolalpaca create`, and what its documents say before anything is made of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import OptionError, ToolAlpacaError
from ..schema import Api


def _field(help: str, default: Any = MISSING, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True)
class CreateConfig:
    """What a model is made of; each field's help is in its metadata, and `toolalpaca create` has an option for it.

    Raises:
        [`OptionError`]: A value cannot be used.

    Example:

    ```python
    >>> CreateConfig(("petstore.yaml",), "outputs/petstore").base
    'smollm2'
    ```
    """

    documents: Sequence[str] = _field("OpenAPI documents, plugin manifests, folders of them, URLs.", argument=True)
    out: str = _field("Folder to write; one that is there goes on.")
    base: str = _field("Model to train: folder, Hub id or smollm2.", "smollm2")
    per_api: int = _field("Most instances that are made of an API.", 160)
    held_out: float = _field(
        "Share of them that is kept for evaluation; of four APIs or more, whole ones as well.", 0.2
    )
    max_steps: int | None = _field("Training steps; the recipe's epoch otherwise.", None)
    seed: int = _field("Of values, wording and simulated data.", 0)
    endpoint: str | None = _field("OpenAI-compatible server: its model writes the corpus, not the rules.", None)
    model: str | None = _field("The model's name there; the key is in TOOLALPACA_API_KEY or OPENAI_API_KEY.", None)

    def __post_init__(self) -> None:
        if not self.documents:
            raise OptionError("no document is named", fix="pass the file or URL of an OpenAPI document")
        if bool(self.endpoint) != bool(self.model):
            raise OptionError("a model that writes the corpus needs both", option="--endpoint and --model")
        if not 0 < self.held_out < 1:
            raise OptionError(f"is {self.held_out}", option="--held-out", fix="pass a share between 0 and 1")
        for option, value, least in (("--per-api", self.per_api, 5), ("--max-steps", self.max_steps, 1)):
            if value is not None and value < least:
                raise OptionError(f"is {value}", option=option, fix=f"pass {least} or more")

    def claimed(self) -> dict[str, Any]:
        """What the folder's contents depend on; where it is, and where a model is served, may change."""
        return asdict(self) | {"out": Path(self.out).name, "endpoint": self.endpoint is not None}

    @property
    def example_document(self) -> str | None:
        """The first of the documents that `toolalpaca run --instruction` takes; raw files and `sample` are none."""
        from ..openapi import document_in, is_url  # here, as the command line asks for the fields only

        first = Path(self.documents[0])
        files = sorted(first.iterdir()) if first.is_dir() else [first]
        if is_url(self.documents[0]):
            return self.documents[0]
        for file in (file for file in files if file.suffix.lower() in (".json", ".yaml", ".yml")):
            with suppress(ToolAlpacaError):  # one that cannot be read was set aside
                if document_in(file, described=False):
                    return str(file)
        return None


@dataclass(frozen=True)
class CheckedDocuments:
    """The APIs of documents, and a sentence for each that documents no function or violates OpenAPI."""

    apis: list[Api]
    notes: list[str]

    @property
    def functions(self) -> int:
        """Of all APIs."""
        return sum(len(api.functions) for api in self.apis)


def check_documents(documents: Sequence[str]) -> CheckedDocuments:
    """Read documents and say what is wrong with them; a violation is a note, since published documents have many.

    Raises:
        [`NotFoundError`], [`InputError`]: One cannot be read, or none documents a function.

    Example:

    ```python
    >>> check_documents(["sample"]).functions
    28
    ```
    """
    from ..experimental.offline_corpus import offline_apis
    from ..openapi import is_large, violations

    unread: dict[str, str] = {}
    apis, notes = offline_apis(list(documents), unread), []
    for api in apis:
        if not api.functions:
            notes.append(f"{api.name} {unread.get(api.id, 'documents no function')} and is left out")
        elif not is_large(api.documentation) and (found := violations(api.documentation)):
            notes.append(f"{api.name}: {len(found)} violations of OpenAPI, the first: {found[0]}")
    return CheckedDocuments([api for api in apis if api.functions], notes)

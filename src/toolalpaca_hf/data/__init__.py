"""The data room: raw and processed JSON to rows, to a `datasets` builder, and to a Hub-ready Parquet repo."""

from .api_list import ListedApi, read_api_list
from .corpus import SAMPLE, Corpus, Sources, read_corpus, read_file, resolve_sources
from .credentials import Redactor
from .raw_layout import raw_api, raw_instance
from .repo import Build, check_replaceable, write_repo
from .report import Report, SetAside
from .rows import config_rows, config_splits, upstream_selection
from .toolalpaca import ToolAlpaca, ToolAlpacaConfig, make_prompt

__all__ = [
    "SAMPLE",
    "Build",
    "Corpus",
    "ListedApi",
    "Redactor",
    "Report",
    "SetAside",
    "Sources",
    "ToolAlpaca",
    "ToolAlpacaConfig",
    "check_replaceable",
    "config_rows",
    "config_splits",
    "make_prompt",
    "raw_api",
    "raw_instance",
    "read_api_list",
    "read_corpus",
    "read_file",
    "resolve_sources",
    "upstream_selection",
    "write_repo",
]

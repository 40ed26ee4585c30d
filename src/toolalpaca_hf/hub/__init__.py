"""The hub room: what goes to the Hugging Face Hub and what comes from it."""

from .dataset import dataset_contents
from .fetch import Fetched, fetch
from .publish import publish_dataset, publish_model
from .push import Pushed, push
from .results import push_results

__all__ = [
    "Fetched",
    "Pushed",
    "dataset_contents",
    "fetch",
    "publish_dataset",
    "publish_model",
    "push",
    "push_results",
]

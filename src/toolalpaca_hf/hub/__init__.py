"""The hub room: what goes to the Hugging Face Hub. Today: evaluation results, for a model repo that exists."""

from .results import push_results

__all__ = ["push_results"]

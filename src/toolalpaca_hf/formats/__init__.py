"""Prompts and layouts: renders trajectories as segments or chat messages, and parses a model's text into an action."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

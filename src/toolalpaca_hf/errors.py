"""The one exception type a caller has to catch."""


class ToolAlpacaError(Exception):
    """Something the user can mend: the message names the file, the row where there is one, and what to do.

    The command line prints it as one sentence and exits with status 2; it never shows a traceback.

    Example:

    ```python
    >>> raise ToolAlpacaError("train.json does not exist; pass --source sample to use the embedded corpus")
    Traceback (most recent call last):
        ...
    toolalpaca_hf.errors.ToolAlpacaError: train.json does not exist; pass --source sample to use the embedded corpus
    ```
    """

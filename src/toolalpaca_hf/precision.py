"""Which dtype and device compute fast on this machine: measured with a short matrix product, not looked up.

Processor flags and model numbers do not say it: bfloat16 runs at a hundredth of float32's speed on one processor with
AVX2 and at twice it on its successor. `python -m toolalpaca_hf.precision` prints what was measured and what is chosen.
"""

import functools
import math
import time
from typing import TYPE_CHECKING, cast

from .errors import OptionError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")

# Rows of a batch of decoding by a small model's width: a slow dtype takes 30 ms, a fast one half of one.
_SHAPE = (32, 512, 256)
# An accelerator starts such a product in longer than it computes it: only a large one shows how fast a dtype is.
_LARGE = (2048, 2048, 2048)
# How much faster than float32 a dtype must be: noise alone must not change what a run computes with.
_MARGIN = 1.2
_ATTEMPTS, _SECONDS = 100, 0.03  # of a dtype, at most; three of one that takes longer


def default_device() -> "torch.device":
    """The device accelerate would use, an accelerator or the CPU; under `accelerate launch` this process's own."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    if parse_flag_from_env("ACCELERATE_USE_CPU"):
        return torch.device("cpu")
    # The class's state is read where a launcher or a trainer made it; otherwise nothing is left behind that would
    # decide for a trainer to come.
    if PartialState._shared_state:
        return cast("torch.device", PartialState().device)
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@functools.cache
def gflops(device_type: str) -> dict[str, float]:
    """Speed of a matrix product in each dtype, the best of many, in GFLOP/s: on a CPU of 32x512 by 512x256, on an
    accelerator of 2048x2048 by 2048x2048.

    Takes some tens of milliseconds and is measured once a process. A CPU is measured by the processor time of one
    thread, which neither other work on the machine nor threads that wait for one another can distort. A dtype that the
    device does not have has 0.0.

    Example:

    ```python
    >>> sorted(gflops("cpu"))
    ['bfloat16', 'float16', 'float32']
    ```
    """
    import torch

    cpu = device_type == "cpu"
    m, k, n = _SHAPE if cpu else _LARGE
    clock = time.thread_time if cpu else time.perf_counter
    best: dict[str, float] = dict.fromkeys(DTYPES[1:], math.inf)
    spent: dict[str, float] = dict.fromkeys(best, 0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # In turn, and often: a busy neighbour that shares the core halves the speed of a dtype for some attempts.
    for attempt in range(_ATTEMPTS):
        for name in [name for name in spent if attempt < 4 or spent[name] < _SECONDS]:
            try:
                a = torch.ones(m, k, device=device_type, dtype=getattr(torch, name))
                b = torch.ones(k, n, device=device_type, dtype=getattr(torch, name))
                start = clock()
                product = a @ b
                if not cpu:
                    torch.accelerator.synchronize(product.device)
                took = clock() - start
            except (RuntimeError, TypeError):  # what a device does not have, it says so in its own words
                del spent[name]
                continue
            if attempt:  # the first one loads kernels
                best[name], spent[name] = min(best[name], took), spent[name] + took
    torch.set_num_threads(threads)
    return {name: 2 * m * k * n / max(seconds, 1e-9) / 1e9 for name, seconds in best.items()}


def fastest(speeds: dict[str, float], device_type: str) -> str:
    """The dtype to compute with, by the speeds of [`gflops`].

    bfloat16 where it is faster than float32; float16 in its place on accelerators that have no fast bfloat16, never on
    a CPU, where its range of 65,504 is a risk without a gain.

    Example:

    ```python
    >>> fastest({"float32": 122.6, "bfloat16": 1.1, "float16": 1.2}, "cpu")
    'float32'
    ```
    """
    names = ("bfloat16",) if device_type == "cpu" else ("bfloat16", "float16")
    # Nothing is faster where nothing could be measured.
    return next((name for name in names if speeds[name] > _MARGIN * speeds["float32"]), "float32")


def resolve_dtype(dtype: str = "auto", device: "torch.device | str | None" = None) -> "torch.dtype":
    """The dtype that a name stands for: `"auto"` for the fastest on a device, by default [`default_device`].

    Raises:
        [`OptionError`]: There is no such dtype.

    Example:

    ```python
    >>> resolve_dtype("float32")
    torch.float32
    ```
    """
    import torch

    if dtype not in DTYPES:
        raise OptionError(f"{dtype!r} is no dtype; pass one of {', '.join(DTYPES)}", option="dtype")
    if dtype == "auto":
        kind = (torch.device(device) if device is not None else default_device()).type
        dtype = fastest(gflops(kind), kind)
    return getattr(torch, dtype)


if __name__ == "__main__":  # device, GFLOP/s by dtype, and the choice
    import torch

    device = default_device()
    name = f", measured on one of {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"device    {device}{name} (torch {torch.__version__})")
    speeds = gflops(device.type)
    for dtype, speed in speeds.items():
        print(f"{dtype:<10}" + (f"{speed:>8,.1f} GFLOP/s" if speed else "not available"))
    print(f"choice    {fastest(speeds, device.type)}")

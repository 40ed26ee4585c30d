"""A real `transformers serve` on loopback, and tiny models that were taught what to write."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def free_port() -> int:
    """A free port below those that the system hands out, which another test may get while a server starts."""
    while True:
        port = random.randrange(12000, 32000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def transformers_serve(log: Path, seconds: float = 300.0, threads: int = 1) -> Iterator[str]:
    """The base URL of a server that loads the model each request names, a folder.

    Args:
        log (`Path`): Where what the server prints goes.
        seconds (`float`): How long it may take to start.
        threads (`int`): Of its matrix products; tiny models are faster with one, and leave the machine to others.
    """
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--device", "cpu", "--dtype", "float32"], stdout=out, stderr=subprocess.STDOUT, env=environment
        )
        try:
            for _ in range(int(seconds * 5)):
                assert server.poll() is None, log.read_text()
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            else:
                raise AssertionError(f"no health after {seconds} s:\n{log.read_text()}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()
            server.wait()


def teach(folder: Path, lessons: Sequence[tuple[str, str]], steps: int = 150) -> None:
    """Train the tiny model of a folder until it writes, greedily, exactly what it was taught.

    Args:
        folder (`Path`): With a model and a tokenizer.
        lessons (`Sequence[tuple[str, str]]`): Prompts, and what to write after each, its end included.
        steps (`int`): Of training, at most.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = []
    for prompt, answer in lessons:
        head = tokenizer(prompt)["input_ids"]
        tail = tokenizer(answer, add_special_tokens=False)["input_ids"]
        rows.append((torch.tensor([head + tail]), torch.tensor([[-100] * len(head) + tail])))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # enough for its size
    for _ in range(steps):
        worst = 0.0
        for ids, labels in rows:
            loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            worst = max(worst, loss.item())
        optimizer.step()
        optimizer.zero_grad()
        if worst < 0.03:
            break
    torch.set_num_threads(threads)
    assert worst < 0.1, worst
    model.save_pretrained(folder)

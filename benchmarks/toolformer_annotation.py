"""Annotation against the equations one by one, sampling against one call at a time, memory, and cost by length.

    python benchmarks/toolformer_annotation.py --quick --json out.json
    python benchmarks/toolformer_annotation.py filter --texts 100
    python benchmarks/toolformer_annotation.py sampling --data gsm8k_train.jsonl --texts 5
    python benchmarks/toolformer_annotation.py memory --texts 10000 --model TINY
    python benchmarks/toolformer_annotation.py length --plot length.png

The texts are GSM8K's solutions where `--data` names the file or it lies in ../shared, else sums made here. Both ways
of a comparison use the same loaded weights, float32, in one run. The twin is tests/toolformer/brute_force.py: whole
sequences, one candidate at a time. TINY is a model of tests/toolformer/proposing.py, taught to propose calls.
`--quick` takes all four parts, with few texts and 5 calls at each of 5 positions, where the paper has 10 at each of
20.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measured import Cell, show, table, write
from toolformer_gsm8k import without_marks

from toolalpaca_hf.toolformer import (
    AnnotationConfig,
    AnnotationSettings,
    Annotator,
    Document,
    Markers,
    ToolCall,
    ToolSettings,
    annotate,
    settings_for,
    tools_named,
)
from toolalpaca_hf.toolformer.annotation.annotator import select
from toolalpaca_hf.toolformer.annotation.filter import losses, score
from toolalpaca_hf.toolformer.annotation.pipeline import load_annotator

ROOT = Path(__file__).parents[1]
GSM8K = ROOT.parent / "shared" / "data" / "toolformer" / "gsm8k_train.jsonl"
MARKERS, TAU_F = Markers(), settings_for("Calculator").tau_f
THINGS = ("apples", "books", "coins", "pens", "stamps", "tickets")
QUICK = {
    "filter": {"texts": 2},
    "sampling": {"texts": 2, "one_by_one": 8},
    "memory": {"texts": 200, "model": "TINY"},
    "length": {"lengths": (64, 128, 256), "repeat": 1},
}


def solutions(path: Path | None, count: int) -> list[Document]:
    """GSM8K's solutions without their marks, over and over where more are asked for; without the file, sums."""
    if path is None:
        return [Document(str(n), sums(random.Random(n))) for n in range(count)]
    rows = [json.loads(line)["answer"] for line in path.open(encoding="utf-8")]
    return [Document(str(n), without_marks(rows[n % len(rows)])[0]) for n in range(count)]


def sums(drawn: random.Random) -> str:
    """Some sentences that compute something."""
    a, b, c, thing = drawn.randint(12, 90), drawn.randint(3, 11), drawn.randint(2, 9), drawn.choice(THINGS)
    return (
        f"Each of the {b} boxes holds {a} {thing}, so there are {b} * {a} = {a * b} {thing} in all.\n"
        f"Of these {c} are broken, which leaves {a * b} - {c} = {a * b - c} {thing}.\n"
        f"Sold at ${c} each, they bring in ${(a * b - c) * c}."
    )


def annotator_of(args: argparse.Namespace, folder: str, **settings: Any) -> Annotator:
    """A model with the calculator."""
    settings["tools"] = {"Calculator": calculator(args)}
    config = AnnotationConfig("", folder, model_of(args, folder), ("calculator",), AnnotationSettings(**settings))
    return load_annotator(config, tools_named("calculator"))


def calculator(args: argparse.Namespace) -> ToolSettings:
    """The paper's settings, as far as the command line does not say otherwise."""
    return replace(settings_for("Calculator"), k=args.positions, m=args.calls)


def model_of(args: argparse.Namespace, folder: str) -> str:
    """The model's name, or the folder of the tiny one."""
    if args.model != "TINY":
        return args.model
    from proposing import save_proposer

    return str(save_proposer(Path(folder) / "tiny"))


def filter_(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The same candidates by this package and by the twin."""
    import brute_force

    annotator = annotator_of(args, folder, all_losses=True)
    scorer = annotator.scorer
    start = time.perf_counter()
    found = [one for text in solutions(args.data, args.texts) for one in annotator.annotate([text])]
    whole = time.perf_counter() - start
    asked = []
    for one in found:
        ids = scorer.encode(MARKERS.escape(one.row["text"]))
        for c in one.candidates:
            if c.result is not None:
                call = ToolCall(c.tool, c.input)
                asked.append((ids, c, MARKERS.with_result(call, c.result), MARKERS.call(call)))
    seconds, told = {}, {}
    for way, floor in (("ours", TAU_F), ("ours, every loss", float("-inf"))):
        start = time.perf_counter()
        places: dict[int, tuple[list[int], set[int]]] = {}
        for ids, c, _, _ in asked:
            c.l_plus = c.l_call = None
            places.setdefault(id(ids), (ids, set()))[1].add(c.index)
        empty = dict(zip(places, losses(scorer, [((), ids, at) for ids, at in places.values()]), strict=True))
        for ids, c, _, _ in asked:
            c.l_empty = empty[id(ids)][c.index]
        score(scorer, [one for one in asked if one[1].l_empty >= floor], {"Calculator": floor})
        seconds[way] = time.perf_counter() - start
        told[way] = [(c.l_empty, c.l_call, c.l_plus, c.gain) for _, c, _, _ in asked]
        print(f"{way}: {seconds[way]:.1f} s", flush=True)
    start, expected = time.perf_counter(), []
    for ids, c, with_result, call in asked:
        expected.append(
            brute_force.losses(scorer.model, scorer.tokenizer, scorer.begin, ids, c.index, call, with_result)
        )
    seconds["brute force"] = time.perf_counter() - start
    kept = {
        way: {n for n, line in enumerate(lines) if line[3] is not None and line[3] >= TAU_F}
        for way, lines in told.items()
    }
    kept["brute force"] = {n for n, line in enumerate(expected) if brute_force.kept(line, TAU_F)}
    apart = [
        abs(a - b)
        for line, other in zip(told["ours, every loss"], expected, strict=True)
        for a, b in zip(line[:3], other, strict=True)
    ]
    return {
        "texts": args.texts,
        "candidates": len(asked),
        "annotation_texts_per_second": args.texts / whole,
        "seconds": seconds,
        "times_as_fast": {way: seconds["brute force"] / seconds[way] for way in told},
        "largest_difference_of_a_loss": max(apart, default=0.0),
        "kept": {way: len(of) for way, of in kept.items()},
        "same_kept": len({frozenset(of) for of in kept.values()}) == 1,
    }


def sampling(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """All calls of some texts together, and each by `model.generate` with the whole prompt."""
    annotator = annotator_of(args, folder)
    sampler, scorer = annotator.sampler, annotator.scorer
    settings, prompt = calculator(args), annotator.prompts["Calculator"]
    texts = [scorer.encode(text.text) for text in solutions(args.data, args.texts)]
    start, contexts = time.perf_counter(), []
    for batch in sampler.open(prompt, texts):
        wanted = [(str(n), opened, select(opened.places, settings)) for n, opened in batch.items()]
        sampler.draw(prompt, "Calculator", wanted, settings.m)
        contexts += [
            [*prompt.head, *prompt.behind(texts[int(n)])[: o.before + p.index], p.start]
            for n, o, s in wanted
            for p in s
        ]
    ours = time.perf_counter() - start
    print(f"together: {ours:.1f} s for {len(contexts) * settings.m} samples", flush=True)
    contexts = contexts[:: max(1, len(contexts) // args.one_by_one)][: args.one_by_one]
    start = time.perf_counter()
    torch.manual_seed(0)
    for context in contexts:
        ids = torch.tensor([context], device=scorer.model.device)
        scorer.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            max_new_tokens=64,
            stop_strings=["]"],
            tokenizer=scorer.tokenizer,
            pad_token_id=0,
        )
    each = (time.perf_counter() - start) / len(contexts)
    samples = args.texts * settings.k * settings.m
    return {
        "texts": args.texts,
        "samples": samples,
        "seconds_together": ours,
        "seconds_of_one_alone": each,
        "timed_alone": len(contexts),
        "times_as_fast": each * samples / ours,
    }


def memory(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The memory of a run while it goes on."""
    source = Path(folder) / "texts.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for text in solutions(args.data, args.texts):
            file.write(json.dumps({"text": text.text}) + "\n")
    config = AnnotationConfig(
        str(source),
        str(Path(folder) / "out"),
        model_of(args, folder),
        ("calculator",),
        AnnotationSettings({"Calculator": ToolSettings(0.0, 2, 2, 0.5)}),
        candidates=True,
    )
    seen: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        start = time.perf_counter()
        while not done.wait(1.0):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen.append((time.perf_counter() - start, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        annotate(config)
    finally:
        done.set()
        watcher.join()
    tenth = max(1, len(seen) // 10)
    return {
        "texts": args.texts,
        "seconds": time.perf_counter() - start,
        "mebibytes_by_tenths": [round(max(m for _, m in seen[n : n + tenth])) for n in range(0, len(seen), tenth)],
    }


def length(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Seconds for a text of so many tokens."""
    annotator = annotator_of(args, folder)
    pool = "\n".join(text.text for text in solutions(args.data, 200))
    ids, points = annotator.scorer.encode(pool), []
    annotator.annotate([Document("warm-up", "It takes 2 + 2 = 4 of them.")])
    for tokens in args.lengths:
        # Some less: cut in other places, it has some tokens more.
        texts = [
            Document(f"{tokens}/{n}", annotator.scorer.decode(ids[n * tokens : (n + 1) * tokens - 4]))
            for n in range(args.repeat)
        ]
        start = time.perf_counter()
        found = [one for text in texts for one in annotator.annotate([text])]
        points.append({"tokens": tokens, "seconds": (time.perf_counter() - start) / len(texts)})
        assert not any(one.row["outcome"].startswith(("longer", "failed")) for one in found), found[0].row["outcome"]
        print(points[-1], flush=True)
    if args.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 3.5))
        axes = figure.subplots()
        axes.plot([p["tokens"] for p in points], [p["seconds"] for p in points], marker="o")
        axes.set(xlabel="tokens of a text", ylabel="seconds of a text", xlim=0, ylim=0, title="Annotation, calculator")
        figure.savefig(args.plot, bbox_inches="tight", dpi=150)
    return {"points": points}


PARTS = {"filter": filter_, "sampling": sampling, "memory": memory, "length": length}


def tables(figures: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What was measured, for people: a table a part."""
    made: list[dict[str, Any]] = []

    def add(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], note: str) -> None:
        made.append(table(title, columns, rows, note))

    if one := figures.get("filter"):
        same = "The kept calls are the same" if one["same_kept"] else "THE KEPT CALLS DIFFER"
        add(
            "The filter's losses, against the equations one candidate at a time",
            ("way", "seconds", "times as fast", "kept calls"),
            [
                [way, round(seconds, 2), one["times_as_fast"].get(way, 1.0), one["kept"][way]]
                for way, seconds in one["seconds"].items()
            ],
            f"{one['candidates']} candidates of {one['texts']} texts. {same}; no loss differs by more than "
            f"{one['largest_difference_of_a_loss']:.1e}. "
            f"With sampling, {one['annotation_texts_per_second']:.3f} texts a second.",
        )
    if one := figures.get("sampling"):
        add(
            "Sampling, against one call at a time",
            ("way", "seconds a sample", "times as fast"),
            [
                ["together", one["seconds_together"] / one["samples"], one["times_as_fast"]],
                ["`model.generate`, one at a time", one["seconds_of_one_alone"], 1.0],
            ],
            f"{one['samples']} samples of {one['texts']} texts together, {one['timed_alone']} alone.",
        )
    if one := figures.get("memory"):
        add(
            "Memory while texts are annotated",
            ("tenth of the run", "MiB"),
            [[n, size] for n, size in enumerate(one["mebibytes_by_tenths"], 1)],
            f"{one['texts']:,} texts in {one['seconds']:.0f} s, with a tiny model.",
        )
    if one := figures.get("length"):
        rows = [[point["tokens"], point["seconds"], point["seconds"] / point["tokens"]] for point in one["points"]]
        add("Cost by length", ("tokens of a text", "seconds", "seconds a token"), rows, "")
    return made


def main() -> None:
    """Run one part, or all in their short form, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="all parts, in minutes")
    parser.add_argument("--data", type=Path, help="gsm8k_train.jsonl")
    parser.add_argument("--model", default="smollm2", help="folder, Hub id, smollm2 or TINY")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--positions", type=int, help="k, of the calculator")
    parser.add_argument("--calls", type=int, help="m, likewise")
    parser.add_argument("--one-by-one", type=int, default=40, help="sampling: how many samples are timed alone")
    parser.add_argument("--repeat", type=int, default=2, help="length: texts of each length")
    parser.add_argument("--lengths", type=int, nargs="+", default=(128, 256, 512, 768, 1024), help="length: in tokens")
    parser.add_argument("--plot", type=Path, help="length: file of the plot")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    if args.quick == bool(args.part):
        parser.error("name a part, or pass --quick")
    if args.quick and not args.plot and args.json:
        args.plot = args.json.with_suffix(".png")
    args.data = args.data or (GSM8K if GSM8K.is_file() else None)
    of_paper = settings_for("Calculator")
    args.positions = args.positions or (5 if args.quick else of_paper.k)
    args.calls = args.calls or (5 if args.quick else of_paper.m)
    sys.path[:0] = [str(ROOT / "tests" / "toolformer"), str(ROOT / "tests")]
    start, figures = time.perf_counter(), {}
    for part in QUICK if args.quick else [args.part]:
        print(f"--- {part}", flush=True)
        short = argparse.Namespace(**{**vars(args), **(QUICK[part] if args.quick else {})})
        with tempfile.TemporaryDirectory() as folder:
            figures[part] = {**PARTS[part](short, folder), "model": short.model}
    made = tables(figures)
    show(made)
    if args.json:
        picture = [{"file": args.plot.name, "title": "Annotation: seconds by length of a text"}] if args.plot else []
        write(
            args.json, time.perf_counter() - start, made, picture,
            texts="GSM8K's solutions" if args.data else "sums",
            positions=args.positions,
            calls=args.calls,
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            threads=torch.get_num_threads(),
            **figures,
        )  # fmt: skip


if __name__ == "__main__":
    main()

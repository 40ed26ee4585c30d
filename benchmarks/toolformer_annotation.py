"""Annotation against the equations computed one by one, sampling against one call at a time, memory, and cost by length.

    python benchmarks/toolformer_annotation.py filter --data ../shared/data/toolformer/gsm8k_train.jsonl --texts 100
    python benchmarks/toolformer_annotation.py sampling --data gsm8k_train.jsonl --texts 5
    python benchmarks/toolformer_annotation.py memory --data gsm8k_train.jsonl --texts 10000 --model TINY
    python benchmarks/toolformer_annotation.py length --data gsm8k_train.jsonl --plot length.png

Both ways of a comparison use the same loaded weights, float32, in one run. The twin is tests/toolformer/brute_force.py: whole
sequences, one candidate at a time.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from toolformer_gsm8k import without_marks

from toolalpaca_hf.toolformer.annotation import AnnotationSettings, Annotator, Text, ToolSettings, settings_for
from toolalpaca_hf.toolformer.annotation.filter import losses, score
from toolalpaca_hf.toolformer.annotation.pipeline import AnnotationRun, annotate, load_annotator
from toolalpaca_hf.toolformer.annotation.sample import select
from toolalpaca_hf.toolformer.markers import Call, Markers

MARKERS, TAU_F = Markers(), settings_for("Calculator").tau_f


def solutions(path: Path, count: int) -> list[Text]:
    """GSM8K's solutions without their marks; over and over where more are asked for."""
    rows = [json.loads(line)["answer"] for line in path.open(encoding="utf-8")]
    return [Text(str(n), without_marks(rows[n % len(rows)])[0]) for n in range(count)]


def annotator_of(model: str, folder: str, **settings: Any) -> Annotator:
    """A model with the calculator."""
    return load_annotator(AnnotationRun("", folder, model, ("calculator",), AnnotationSettings(**settings)))


def filter_(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The same candidates by this package and by the twin."""
    import brute_force

    annotator = annotator_of(args.model, folder, all_losses=True)
    scorer = annotator.scorer
    start = time.perf_counter()
    found = [one for text in solutions(args.data, args.texts) for one in annotator.annotate([text])]
    whole = time.perf_counter() - start
    asked = []
    for one in found:
        ids = scorer.encode(MARKERS.escape(one.row["text"]))
        for c in one.candidates:
            if c.result is not None:
                call = Call(c.tool, c.input)
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
    annotator = annotator_of(args.model, folder)
    proposer, scorer = annotator.proposer, annotator.scorer
    settings, prompt = settings_for("Calculator"), proposer.prompts["Calculator"]
    texts = [scorer.encode(text.text) for text in solutions(args.data, args.texts)]
    start, contexts = time.perf_counter(), []
    for batch in proposer.sampler.open(prompt, texts):
        wanted = [(str(n), opened, select(opened.places, settings)) for n, opened in batch.items()]
        proposer.sampler.draw(prompt, "Calculator", wanted, settings.m)
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
    run = AnnotationRun(
        str(source),
        str(Path(folder) / "out"),
        args.model,
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
        annotate(run)
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
    annotator = annotator_of(args.model, folder)
    pool = "\n".join(text.text for text in solutions(args.data, 200))
    ids, points = annotator.scorer.encode(pool), []
    for tokens in (128, 256, 512, 768, 1024):
        # Some less: cut in other places, it has some tokens more.
        texts = [
            Text(f"{tokens}/{n}", annotator.scorer.decode(ids[n * tokens : (n + 1) * tokens - 4]))
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


def main() -> None:
    """Run one part and print its figures."""
    parts = {"filter": filter_, "sampling": sampling, "memory": memory, "length": length}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    parser.add_argument("--data", type=Path, required=True, help="gsm8k_train.jsonl")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--one-by-one", type=int, default=40, help="sampling: how many samples are timed alone")
    parser.add_argument("--repeat", type=int, default=2, help="length: texts of each length")
    parser.add_argument("--plot", type=Path, help="length: file of the plot")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "toolformer"))
    with tempfile.TemporaryDirectory() as folder:
        figures = parts[args.part](args, folder)
    figures |= {
        "part": args.part,
        "model": args.model,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

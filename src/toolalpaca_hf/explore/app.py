"""The Gradio app: a tab each for data, trajectories, two runs side by side, and a playground."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any

from ..agent import Backend, RolloutConfig, make_backend
from ..errors import OptionError, needing
from ..evaluation import instruction_page
from ..report import token_page, visible
from ..schema import Api
from .playground import Playground
from .targets import ANY, FILTERS, DatasetView, RunView, Target

_Show = Callable[[str, str | None], str]
CSS = """
iframe { border-radius: .4rem; }
footer { display: none !important; }
.writing { margin: 0; max-height: 12rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def build_app(targets: Sequence[Target], apis: Sequence[Api] = (), served: RolloutConfig | None = None) -> Any:
    """The app over what [`find_targets`] found, as `gradio.Blocks`; [`launch`] it.

    The playground's models, and the one that is `served` behind an endpoint, may call the `apis`. Raises
    [`MissingDependencyError`] without gradio.
    """
    with needing("exploring", "explore"):
        import gradio as gr
    paths = {kind: [str(t.path) for t in targets if t.kind == kind] for kind in ("dataset", "run", "model")}
    configs = {path: RolloutConfig(path, constrained=True) for path in paths["model"]}
    if served is not None:
        configs[f"{served.model_name_or_path} at {served.endpoint}"] = served
    view: Callable[[str], RunView] = cache(lambda path: RunView(Path(path)))

    def show(path: str, name: str | None) -> str:
        return framed(trajectory_page(view(path), name), "trajectory")

    with gr.Blocks(title="toolalpaca explore", analytics_enabled=False) as app, gr.Tabs():
        if paths["dataset"]:
            with gr.Tab("Data"):
                _data_tab(gr, paths["dataset"])
        if paths["run"]:
            with gr.Tab("Trajectories"):
                _trajectories_tab(gr, paths["run"], view, show)
        if len(paths["run"]) > 1:
            with gr.Tab("Side by side"):
                _pair_tab(gr, paths["run"], view(paths["run"][0]).choose(), show)
        if configs and apis:
            with gr.Tab("Playground"):
                _playground_tab(gr, configs, list(apis))
    return app


def launch(app: Any, port: int, host: str = "127.0.0.1", block: bool = True) -> str:
    """Serve the app, and return its address; [`OptionError`] where that cannot be served on."""
    import gradio as gr

    # Fonts of the reader's machine: nothing is fetched from elsewhere.
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    look = {"theme": theme, "css": CSS, "quiet": True, "share": False}
    try:
        _, url, _ = app.launch(server_name=host, server_port=port, prevent_thread_lock=not block, **look)
    except OSError:  # gradio's, which says how it is set in its own ways
        fix = "pass another, or end what listens there"
        raise OptionError(f"{host}:{port} cannot be served on", option="--port", fix=fix) from None
    return url


def framed(page: str, title: str, height: str = "72vh") -> str:
    """A whole page as an element: the app's style and the page's do not meet, and a hostile text stays text."""
    attributes = f'title="{escape(title)}" style="width:100%;height:{height};border:0"'
    return f'<iframe sandbox {attributes} srcdoc="{escape(page)}"></iframe>'


def row_page(name: str, segments: Sequence[Mapping[str, Any]]) -> str:
    """A training row, its id and its segments (`text` and `trainable`), with what the loss covers marked."""
    parts = [(str(segment["text"]), bool(segment["trainable"])) for segment in segments]
    trained, read = (sum(len(text) for text, own in parts if own is which) for which in (True, False))
    return token_page(name, [(f"{trained:,} characters trained on, {read:,} only read", parts)], outlined=False)


def trajectory_page(view: RunView, name: str | None) -> str:
    """An attempt beside its golden calls, its verdicts and, where a simulator answered, the state after each call."""
    record = view.records.get(name or "")
    if record is None:
        return f"<p>{escape(visible(view.name))} has no such row</p>"
    trajectory = view.trajectory(str(name))
    return instruction_page(record, trajectory, view.replay.states(trajectory) if trajectory and view.replay else ())


def _data_tab(gr: Any, paths: list[str]) -> None:
    view: Callable[[str], DatasetView] = cache(lambda path: DatasetView(Path(path)))

    def rows(path: str) -> Any:
        ids = view(path).ids
        return gr.Dropdown(ids, value=ids[0] if ids else None, label="Row")

    def shown(path: str, name: str | None) -> str:
        if name is None or name not in view(path).ids:
            return ""
        return framed(row_page(name, view(path).segments(name)), "row")

    source = gr.Dropdown(paths, value=paths[0], label="Dataset")
    row = rows(paths[0])
    page = gr.HTML(shown(paths[0], row.value))
    changed = source.change(rows, source, row, api_visibility="private")
    for event in (changed.then, row.change):
        event(shown, [source, row], page, api_visibility="private")


def _trajectories_tab(gr: Any, paths: list[str], view: Callable[[str], RunView], show: _Show) -> None:
    def chosen(path: str, *wanted: str) -> Any:
        left = view(path).choose(*wanted)
        return gr.Dropdown(left, value=left[0][1] if left else None, label=f"Instruction ({len(left)})")

    def other_source(path: str) -> list[Any]:
        return [*(gr.Dropdown(view(path).values(key), value=ANY) for key in FILTERS), chosen(path)]

    source = gr.Dropdown(paths, value=paths[0], label="Run")
    with gr.Row():
        filters = [gr.Dropdown(view(paths[0]).values(key), value=ANY, label=label) for key, label in FILTERS.items()]
    row = chosen(paths[0])
    page = gr.HTML(show(paths[0], row.value))
    gr.on([one.input for one in filters], chosen, [source, *filters], row, api_visibility="private")
    # Behind it, since the row of another run is none of this one's choices.
    changed = source.change(other_source, source, [*filters, row], api_visibility="private")
    for event in (changed.then, row.change):
        event(show, [source, row], page, api_visibility="private")


def _pair_tab(gr: Any, paths: list[str], chosen: list[tuple[str, str]], show: _Show) -> None:
    row = gr.Dropdown(chosen, value=chosen[0][1] if chosen else None, label="Instruction")
    with gr.Row():
        for path in paths[:2]:
            with gr.Column(min_width=320):
                source = gr.Dropdown(paths, value=path, label="Run")
                page = gr.HTML(show(path, row.value))
            gr.on([row.change, source.change], show, [source, row], page, api_visibility="private")


def _playground_tab(gr: Any, configs: Mapping[str, RolloutConfig], apis: list[Api]) -> None:
    def load(config: RolloutConfig) -> Backend:
        made = make_backend(config)
        return made() if callable(made) else made

    playgrounds = {name: Playground(partial(load, config), apis) for name, config in configs.items()}
    models, names = list(playgrounds), list(next(iter(playgrounds.values())).apis)
    with gr.Row():
        model = gr.Dropdown(models, value=models[0], label="Model")
        api = gr.Dropdown(names, value=names[0], label="API (simulated)")
    instruction = gr.Textbox(label="Instruction", placeholder="What should be done?")
    ask = gr.Button("Ask", variant="primary")
    writing, page = gr.HTML(), gr.HTML()

    def play(path: str, name: str, text: str) -> Iterator[Any]:
        if text.strip():
            for shown, written in playgrounds[path].ask(name, text):
                yield gr.skip() if shown is None else framed(shown, "rollout", "60vh"), written

    gr.on([ask.click, instruction.submit], play, [model, api, instruction], [page, writing], api_visibility="private")

"""The page in Chromium: what is shown can be read, at two widths, in the dark, by keyboard."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from test_states import DOCUMENT, TURNS, Scripted

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")]


class SlowModel(ThreadingHTTPServer):
    """Streams a call of `addPet`, its second half when `go_on` is set; then an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.go_on, self.asked = threading.Event(), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server: Any = self.server
            self.rfile.read(int(self.headers["Content-Length"]))
            server.asked += 1
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            if server.asked > 1:
                return self.event({"content": "Biscuit is in the shop."})
            self.event({"content": "I add the dog "})
            server.go_on.wait(60)
            pet = json.dumps({"name": "Biscuit", "species": "dog", "price": 40})
            call = {"index": 0, "id": "c", "type": "function", "function": {"name": "addPet", "arguments": pet}}
            self.event({"content": "to the list.", "tool_calls": [call]})

        def event(self, delta: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode())
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass


@pytest.fixture(scope="module")
def model() -> Iterator[SlowModel]:
    with SlowModel() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, model: SlowModel) -> Iterator[str]:
    """The app over a dataset and three runs, and a model behind an endpoint."""
    from datasets import Dataset

    from toolalpaca_hf.agent import RolloutConfig, run
    from toolalpaca_hf.data import make_prompt, resolve_sources, write_repo
    from toolalpaca_hf.explore import build_app, find_targets, launch
    from toolalpaca_hf.features import ROLLOUT_FEATURES
    from toolalpaca_hf.openapi import load_api

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    folder = tmp_path_factory.mktemp("shown")
    write_repo(resolve_sources("sample"), folder / "sample", make_prompt("react"))
    for name, answer in (("before", "I do not know."), ("after", "High water is at noon.")):
        step = {"thought": "I look.", "action": "findTide", "action_input": '{"port": "Brest"}', "log": None}
        step["observation"] = "Status Code: 200. Response: " + json.dumps({"high": "12:00", "of": name})
        row = {"hint": "", "steps": [step], "final_thought": None, "response": answer, "error": "", "tokens": 9}
        rows = [
            {"id": f"e/tides/{i}", "api": "e/tides", "instruction": f"When is high tide {i}?", "ended": ended, **row}
            | {"seconds": 1.0}
            for i, ended in enumerate(("answered", "steps"))
        ]
        (folder / name / "rollouts").mkdir(parents=True)
        file = folder / name / "rollouts" / "trajectories.parquet"
        Dataset.from_list(rows, features=ROLLOUT_FEATURES).to_parquet(file)
    backend: Any = Scripted(TURNS[2:])
    run(DOCUMENT, backend, folder / "petshop", instructions=["Book a visit."], progress=False)
    targets = find_targets([str(folder / part) for part in ("sample", "before", "after", "petshop")])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = RolloutConfig("slow", endpoint=f"http://127.0.0.1:{model.server_port}/v1", style="chat")
    app = build_app(targets, [load_api(str(DOCUMENT))], served)
    yield launch(app, port, block=False)
    app.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def close(page: Any) -> None:
    """Close a page; with `PICTURES=FOLDER` a picture of it is kept there, for people to look at."""
    if folder := os.environ.get("PICTURES"):
        test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].partition(" ")[0]
        page.screenshot(path=f"{folder}/{test}.png")
    page.close()


def ink(png: bytes) -> int:
    """How many shades a picture has; a blank one has a single one."""
    import io

    from PIL import Image

    return len(set(Image.open(io.BytesIO(png)).convert("L").tobytes()))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_a_trajectory_can_be_read(browser: Any, url: str, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(url)
    page.get_by_role("tab", name="Trajectories").click()
    frame = page.frame_locator("iframe[title=trajectory]:visible")
    response = frame.get_by_text("I do not know.")
    sync_api.expect(response).to_be_visible(timeout=20_000)
    response.scroll_into_view_if_needed()
    box, shown = response.bounding_box(), page.locator("iframe[title=trajectory]:visible").bounding_box()
    assert shown["x"] <= box["x"] and box["x"] + box["width"] <= shown["x"] + shown["width"] + 1
    assert shown["x"] >= 0 and shown["x"] + shown["width"] <= width  # nothing has to be scrolled sideways
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert ink(response.screenshot()) > 8  # letters are drawn, not only in the tree
    paper = response.evaluate("e => getComputedStyle(e.ownerDocument.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == (scheme == "dark")
    close(page)


def test_a_filter_and_another_run_change_what_is_shown(browser: Any, url: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.get_by_role("tab", name="Trajectories").click()
    ended = page.get_by_role("combobox", name="Ended")
    ended.click()
    page.get_by_role("option", name="steps").click()
    frame = page.frame_locator("iframe[title=trajectory]:visible")
    sync_api.expect(frame.get_by_text("When is high tide 1?").last).to_be_visible(timeout=20_000)
    page.get_by_role("tab", name="Side by side").click()
    shown = page.locator("iframe[title=trajectory]:visible")
    sync_api.expect(shown).to_have_count(2, timeout=20_000)
    for place, answer in enumerate(("I do not know.", "High water is at noon.")):
        text = page.frame_locator("iframe[title=trajectory]:visible >> nth=" + str(place)).get_by_text(answer)
        sync_api.expect(text).to_be_visible(timeout=20_000)
    close(page)


def test_the_keyboard_is_enough(browser: Any, url: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.get_by_role("tab", name="Data").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_role("tab", name="Trajectories")).to_have_attribute("aria-selected", "true")
    sync_api.expect(page.locator("iframe[title=trajectory]:visible").first).to_be_visible(timeout=20_000)
    for _ in range(12):  # the frame can be reached and scrolled
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "IFRAME":
            break
    assert page.evaluate("document.activeElement.tagName") == "IFRAME"
    close(page)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_state_stands_under_its_call(browser: Any, url: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(url)
    page.get_by_role("tab", name="Trajectories").click()
    page.get_by_role("combobox", name="Run").locator("visible=true").click()
    page.get_by_role("option", name="petshop").click()
    state = page.frame_locator("iframe[title=trajectory]:visible").get_by_text("new visit ")
    sync_api.expect(state).to_be_visible(timeout=20_000)
    assert "2026-05-12" in state.inner_text() and ink(state.screenshot()) > 8
    close(page)


def test_thoughts_appear_while_the_model_writes(browser: Any, url: str, model: SlowModel) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.get_by_role("tab", name="Playground").click()
    page.get_by_label("Instruction").locator("visible=true").fill("Add a dog.")
    page.get_by_role("button", name="Ask").click()
    writing = page.locator("pre.writing")
    sync_api.expect(writing).to_have_text("I add the dog", timeout=60_000)
    assert model.asked == 1 and not model.go_on.is_set()
    model.go_on.set()
    frame = page.frame_locator("iframe[title=rollout]")
    for text in ("I add the dog to the list.", "new pet ", "Biscuit is in the shop."):
        sync_api.expect(frame.get_by_text(text)).to_be_visible(timeout=60_000)
    sync_api.expect(writing).to_have_count(0)
    close(page)

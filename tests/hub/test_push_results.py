"""Evaluation results pushed to a repo, through the real huggingface_hub, to a Hub on loopback that is strict."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hub.evaluated import write_run
from hub.hub_server import GUEST, OWNER, HubServer, Refusal
from hub.pushing import push_results
from huggingface_hub import EvalResult, HfApi, ModelCard, constants, parse_eval_result_entries

from toolalpaca_hf.errors import InputError, OptionError
from toolalpaca_hf.hub import HubError, connect
from toolalpaca_hf.hub.client import hub_errors
from toolalpaca_hf.hub.results import SOURCE

REPO = "me/model"
CARD = """---
# what the Hub reads
license: mit  # for now
language: no
model-index:
- name: Mine
  results:
  - task: {type: text-generation}
    dataset: {name: GSM8K, type: gsm8k}
    metrics:
    - {type: accuracy, value: 12.5, name: "Accuracy"}
    source: {name: A board, url: "https://example.org/board"}

# who made it
tags: [a, b]
---
# My model

Kept as it is, --- and all.
"""


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer({REPO: {"README.md": CARD.encode(), "config.json": b"{}"}, "me/bare": {}}) as server:
        yield server


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return write_run(tmp_path / "real", "real")


def results_of(hub: HubServer, repo: str = REPO, revision: str = "main") -> list[EvalResult]:
    """What the library reads in the card that is on the Hub."""
    commit = hub.repos[repo].at(revision)
    assert commit is not None
    return ModelCard(commit.files["README.md"].decode()).data.eval_results


def expected(hub: HubServer, folder: Path, suite: str, repo: str = REPO) -> list[EvalResult]:
    """What `model_index.json` says, as the library's own class, with where it comes from."""
    url = f"{hub.url}/{repo}/blob/main/evaluation/{suite}/metrics.json"
    listed = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return [EvalResult(**entry, source_name=SOURCE, source_url=url) for entry in listed]


def test_one_commit_has_the_reports_and_the_figures(hub: HubServer, real: Path) -> None:
    url = push_results({"real": real}, REPO, OWNER, hub.url)
    repo = hub.repos[REPO]
    assert url == f"{hub.url}/{REPO}/commit/{repo.heads['main']}"
    assert hub.commits(REPO) == ["initial commit", "Evaluation results: real"]
    for name in ("metrics.json", "report.md", "report.html"):
        assert repo.files[f"evaluation/real/{name}"] == (real / name).read_bytes()
    assert repo.files["config.json"] == b"{}" and "evaluation/real/model_index.json" not in repo.files
    board, *ours = results_of(hub)
    assert ours == expected(hub, real, "real")
    assert (board.dataset_name, board.metric_value, board.source_name) == ("GSM8K", 12.5, "A board")


def test_the_rest_of_the_card_is_kept_to_the_letter(hub: HubServer, real: Path) -> None:
    push_results({"real": real}, REPO, OWNER, hub.url)
    written = hub.repos[REPO].files["README.md"].decode()
    before, after = CARD[: CARD.index("model-index")], CARD[CARD.index("\n# who made it") :]
    assert written.startswith(before) and written.endswith(after)


def test_the_library_loads_the_card_from_the_hub(hub: HubServer, real: Path, tmp_path: Path) -> None:
    push_results({"real": real}, REPO, OWNER, hub.url)
    path = HfApi(endpoint=hub.url, token=OWNER).hf_hub_download(REPO, "README.md", local_dir=tmp_path / "down")
    data = ModelCard.load(path).data
    assert data.model_name == "Mine" and data.eval_results[1:] == expected(hub, real, "real")
    assert data.tags == ["a", "b"] and data.license == "mit"


def test_the_same_again_makes_no_commit(hub: HubServer, real: Path) -> None:
    push_results({"real": real}, REPO, OWNER, hub.url)
    hub.seen.clear()
    assert push_results({"real": real}, REPO, OWNER, hub.url) == f"{hub.url}/{REPO}"
    assert len(hub.commits(REPO)) == 2 and not hub.asked("/commit/") and not hub.asked("/store/")


def test_another_suite_keeps_the_first_ones_results(hub: HubServer, real: Path, tmp_path: Path) -> None:
    simulated = write_run(tmp_path / "simulated", "simulated", 0.7)
    push_results({"real": real}, REPO, OWNER, hub.url)
    push_results({"simulated": simulated}, REPO, OWNER, hub.url)
    assert results_of(hub)[1:] == expected(hub, real, "real") + expected(hub, simulated, "simulated")
    assert len([path for path in hub.repos[REPO].files if path.startswith("evaluation/")]) == 6


def test_two_suites_in_one_commit(hub: HubServer, real: Path, tmp_path: Path) -> None:
    simulated = write_run(tmp_path / "simulated", "simulated", 0.7)
    push_results({"real": real, "simulated": simulated}, REPO, OWNER, hub.url)
    assert hub.commits(REPO)[1:] == ["Evaluation results: real and simulated"]
    assert results_of(hub)[1:] == expected(hub, real, "real") + expected(hub, simulated, "simulated")


def test_a_later_run_replaces_the_earlier_one_whole(hub: HubServer, real: Path) -> None:
    push_results({"real": real}, REPO, OWNER, hub.url)
    write_run(real, "real", 0.9, all_functions=0.95)
    (real / "report.html").unlink()
    push_results({"real": real}, REPO, OWNER, hub.url)
    ours = results_of(hub)[1:]
    assert ours == expected(hub, real, "real") and [one.metric_value for one in ours] == [90.0, 95.0]
    assert "evaluation/real/report.html" not in hub.repos[REPO].files, "the report of the run before"
    assert hub.repos[REPO].files["evaluation/real/metrics.json"] == (real / "metrics.json").read_bytes()


def test_a_repo_without_a_card_gets_one(hub: HubServer, real: Path) -> None:
    push_results({"real": real}, "me/bare", OWNER, hub.url)
    card = ModelCard(hub.repos["me/bare"].files["README.md"].decode())
    assert "# bare" in card.text and "$" not in card.text
    assert card.data.model_name == "bare" and card.data.eval_results == expected(hub, real, "real", "me/bare")
    assert push_results({"real": real}, "me/bare", OWNER, hub.url) == f"{hub.url}/me/bare"


def test_a_pull_request_leaves_the_branch_alone(hub: HubServer, real: Path) -> None:
    assert push_results({"real": real}, REPO, GUEST, hub.url, create_pr=True) == f"{hub.url}/{REPO}/discussions/1"
    assert hub.repos[REPO].files["README.md"] == CARD.encode()
    assert results_of(hub, revision="refs/pr/1")[1:] == expected(hub, real, "real")
    # More can be added to it.
    write_run(real, "real", 0.9)
    push_results({"real": real}, REPO, OWNER, hub.url, revision="refs/pr/1")
    assert results_of(hub, revision="refs/pr/1")[1:] == expected(hub, real, "real")


def test_the_token_of_whoever_is_logged_in_is_used(
    hub: HubServer, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", OWNER)
    push_results({"real": real}, REPO, endpoint=hub.url)
    assert results_of(hub)[1:] == expected(hub, real, "real")


def test_what_somebody_else_commits_meanwhile_stays(hub: HubServer, real: Path) -> None:
    repo = hub.repos[REPO]
    changed = CARD.replace("My model", "Our model")

    def somebody_else() -> None:
        repo.commit({**repo.files, "README.md": changed.encode()}, "a new title")

    hub.before["commit"] = [somebody_else]
    push_results({"real": real}, REPO, OWNER, hub.url)
    assert hub.commits(REPO)[1:] == ["a new title", "Evaluation results: real"]
    assert "# Our model" in repo.files["README.md"].decode()
    assert results_of(hub)[1:] == expected(hub, real, "real")


def refused(status: int, message: str, code: str = "") -> Callable[[], object]:
    return lambda: Refusal(status, message, code).answer


@pytest.mark.parametrize(
    ("kind", "answers", "status"),
    [
        ("commit", [refused(412, "A commit has happened since")] * 2, 412),
        ("commit", [refused(409, "conflict")] * 2, 409),
        ("commit", [refused(403, f"no write for {OWNER}")], 403),
        ("commit", [refused(429, "slow down")], 429),
        ("commit", [refused(503, "at rest")], 503),
        ("commit", [refused(413, "quota")], 413),
        ("revision", [refused(401, "Invalid username or password.")], 401),
        ("revision", [refused(403, "ask", "GatedRepo")], 403),
        ("revision", [lambda: (200, {}, b"<html>")], None),
        ("revision", [lambda: (200, {}, b"{}")], None),
    ],
)
def test_a_refusal_is_one_sentence(
    hub: HubServer, real: Path, kind: str, answers: list[Callable[[], object]], status: int | None
) -> None:
    hub.before[kind] = list(answers)
    with pytest.raises(HubError) as caught:
        push_results({"real": real}, REPO, OWNER, hub.url)
    assert caught.value.status == status and caught.value.fix
    assert OWNER not in str(caught.value) and "\n" not in str(caught.value)
    assert not hub.before[kind] and hub.commits(REPO) == ["initial commit"]


@pytest.mark.parametrize("fault", [KeyError("sha"), ValueError("a fault"), json.JSONDecodeError("a fault", "", 0)])
def test_a_fault_of_ours_is_no_answer_of_the_hub(fault: Exception) -> None:
    with pytest.raises(type(fault)) as caught, hub_errors(connect(endpoint="http://127.0.0.1:9"), REPO):
        raise fault
    assert caught.value is fault


@pytest.mark.parametrize(
    ("repo", "token", "revision", "names"),
    [
        ("me/none", OWNER, None, 404),
        (REPO, None, None, "HF_TOKEN"),
        (REPO, "hf_Wrong", None, 401),
        (REPO, "hf_W\N{LATIN SMALL LETTER O WITH DIAERESIS}rong", None, None),
        (REPO, GUEST, None, 403),
        (REPO, OWNER, "v9", 404),
        ("me//model", OWNER, None, "--repo-id"),
    ],
)
def test_the_wrong_repo_token_or_revision(
    hub: HubServer, real: Path, repo: str, token: str | None, revision: str | None, names: object
) -> None:
    with pytest.raises((HubError, OptionError)) as caught:
        push_results({"real": real}, repo, token, hub.url, revision)
    assert names == (caught.value.status if isinstance(caught.value, HubError) else caught.value.option)
    assert caught.value.fix and (not token or token not in str(caught.value))
    assert hub.commits(REPO) == ["initial commit"]


def test_no_network(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(HubError, match="ConnectError") as away:
        push_results({"real": real}, REPO, OWNER, url)
    assert away.value.status is None and "network" in str(away.value.fix)
    for wrong in ("huggingface.co", "https://me:secret@huggingface.co"):
        with pytest.raises(OptionError) as caught:
            push_results({"real": real}, REPO, OWNER, wrong)
        assert caught.value.option == "HF_ENDPOINT" and "secret" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        push_results({"real": real}, REPO, OWNER, url)


def test_an_unreadable_card_is_not_touched(hub: HubServer, real: Path) -> None:
    repo = hub.repos[REPO]
    for readme, words in (
        (b"---\nmodel-index: 3\n---\n", "cannot be read"),
        (b"---\na: [\n---\n", "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
    ):
        repo.commit({**repo.files, "README.md": readme}, "a worse card")
        with pytest.raises(InputError, match=words) as caught:
            push_results({"real": real}, REPO, OWNER, hub.url)
        assert caught.value.file == "README.md of me/model" and repo.files["README.md"] == readme


def test_metadata_the_hub_refuses(hub: HubServer, real: Path) -> None:
    hub.repos[REPO].commit({"README.md": b"---\nmodel-index:\n- name: 3\n  results: []\n---\n"}, "a number for a name")
    with pytest.raises(HubError, match=r"metadata in README\.md.*model-index"):
        push_results({"real": real}, REPO, OWNER, hub.url)


def test_a_bad_run_asks_the_hub_nothing(hub: HubServer, real: Path, tmp_path: Path) -> None:
    (real / "metrics.json").write_text('{"suite": "real", "n": 1', encoding="utf-8")
    good = write_run(tmp_path / "simulated", "simulated")
    with pytest.raises(InputError) as caught:
        push_results({"simulated": good, "real": real}, REPO, OWNER, hub.url)
    assert caught.value.file == real / "metrics.json"
    with pytest.raises(OptionError, match="evaluation/a-b"):
        push_results({name: write_run(tmp_path / name, name) for name in ("a b", "a-b")}, REPO, OWNER, hub.url)
    with pytest.raises(OptionError):
        push_results({}, REPO, OWNER, hub.url)
    assert hub.seen == []


def test_the_server_refuses_what_the_hub_refuses(hub: HubServer) -> None:
    """The double by itself: a commit that nobody announced, an unknown route, metadata that is wrong."""
    import httpx

    head = {"Authorization": f"Bearer {OWNER}"}
    lines = [
        {"key": "header", "value": {"summary": "s", "description": ""}},
        {"key": "file", "value": {"path": "a", "content": "YQ==", "encoding": "base64"}},
    ]
    body = "\n".join(map(json.dumps, lines))
    commit = f"{hub.url}/api/models/{REPO}/commit/main"
    assert httpx.post(commit, content=body, headers=head).status_code == 400, "the content type"
    ndjson = head | {"Content-Type": "application/x-ndjson"}
    assert "not announced" in httpx.post(commit, content=body, headers=ndjson).json()["error"]
    assert httpx.post(commit, content=body, headers={"Content-Type": "application/x-ndjson"}).status_code == 401
    assert httpx.get(f"{hub.url}/api/datasets/{REPO}", headers=head).status_code == 404
    wrong = {"content": "---\n" + yaml.safe_dump({"model-index": [{"name": "m"}]}) + "---\n", "repoType": "model"}
    assert httpx.post(f"{hub.url}/api/validate-yaml", json=wrong).status_code == 400
    assert hub.commits(REPO) == ["initial commit"]


def test_a_benchmarks_scores_are_written_where_the_hub_reads_them(hub: HubServer, real: Path) -> None:
    push_results({"real": real}, REPO, OWNER, hub.url, benchmark="me/toolalpaca")
    written = hub.repos[REPO].files[".eval_results/toolalpaca-hf-real.yaml"].decode()
    (entry,) = parse_eval_result_entries(yaml.safe_load(written))
    rate = json.loads((real / "metrics.json").read_text(encoding="utf-8"))["process_verdict"]
    assert (entry.dataset_id, entry.task_id) == ("me/toolalpaca", "real")
    assert entry.value == round(100 * rate["value"], 1)
    assert entry.source_url == f"{hub.url}/{REPO}/blob/main/evaluation/real/metrics.json"
    # Without a benchmark there is none, and the card's results are the same.
    card = hub.repos[REPO].files["README.md"]
    push_results({"real": real}, REPO, OWNER, hub.url)
    assert hub.repos[REPO].files["README.md"] == card

"""A dataset repo published through the real huggingface_hub, to a Hub on loopback that is strict."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from hub.hub_server import GUEST, OWNER, HubServer, Refusal
from hub.pushing import publish_dataset
from huggingface_hub import DatasetCard, HfApi

from toolalpaca_hf.errors import InputError, NotFoundError, OptionError
from toolalpaca_hf.hub import HubError, dataset_manifest

REPO = "me/toolalpaca"
KEY = f"datasets/{REPO}"


@pytest.fixture
def folder(sample_repo: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sample_repo, tmp_path / "sample")


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_files_card_and_visibility(empty_hub: HubServer, folder: Path) -> None:
    pushed = publish_dataset(folder, REPO, OWNER, empty_hub.url)
    repo = empty_hub.repos[KEY]
    assert repo.private and pushed.private
    assert pushed.url == f"{empty_hub.url}/{KEY}/commit/{repo.heads['main']}"
    assert set(repo.files) - {".gitattributes"} == files_of(folder) | {"eval.yaml"}
    benchmark = yaml.safe_load(repo.files["eval.yaml"])
    assert benchmark["tasks"] == [{"id": "simulated", "config": "instructions", "split": "eval_simulated"}]
    assert benchmark["name"] == "toolalpaca" and benchmark["description"] and benchmark["evaluation_framework"]
    for path in files_of(folder) - {"README.md"}:
        assert repo.files[path] == (folder / path).read_bytes()
    card = repo.files["README.md"].decode()
    assert f'load_dataset("{REPO}", "sft", split="train")' in card and "path/to/this" not in card and "[[" not in card
    assert DatasetCard(card).data.to_dict() == DatasetCard.load(folder / "README.md").data.to_dict()
    [made] = list(repo.commits.values())[1:]
    assert pushed.changed and made.summary


def test_the_same_content_makes_no_commit(empty_hub: HubServer, folder: Path) -> None:
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    empty_hub.seen.clear()
    pushed = publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert not pushed.changed and pushed.url == f"{empty_hub.url}/{KEY}"
    assert len(empty_hub.commits(KEY)) == 2
    assert not empty_hub.asked("/commit/") and not empty_hub.asked("/store/")


def test_what_has_changed_is_one_commit_and_stale_shards_leave(empty_hub: HubServer, folder: Path) -> None:
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    repo = empty_hub.repos[KEY]
    # Somebody wrote a file that is none of ours, and an earlier build had more shards.
    stale = {"sft/train-00001-of-00002.parquet": b"PAR1", "notes.md": b"mine"}
    repo.commit({**repo.files, **stale}, "by hand")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    empty_hub.large.uploads.clear()
    pushed = publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert pushed.changed and len(empty_hub.commits(KEY)) == 4
    assert json.loads(repo.files["report.json"]) == report
    assert repo.files["notes.md"] == b"mine" and "sft/train-00001-of-00002.parquet" not in repo.files
    assert empty_hub.large.uploads == []


def test_public_only_when_asked(empty_hub: HubServer, folder: Path) -> None:
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert publish_dataset(folder, REPO, OWNER, empty_hub.url, public=True).private is False
    assert empty_hub.repos[KEY].private is False
    # What is public is not taken away from those who use it.
    assert publish_dataset(folder, REPO, OWNER, empty_hub.url).private is False
    assert empty_hub.repos[KEY].private is False and len(empty_hub.commits(KEY)) == 2
    publish_dataset(folder, "me/other", OWNER, empty_hub.url, public=True)
    assert empty_hub.repos["datasets/me/other"].private is False


def test_an_absent_branch_leaves_nothing_half_made(empty_hub: HubServer, folder: Path) -> None:
    with pytest.raises(HubError):
        publish_dataset(folder, REPO, OWNER, empty_hub.url, revision="v9")
    assert KEY not in empty_hub.repos
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    with pytest.raises(HubError, match="v9"):
        publish_dataset(folder, REPO, OWNER, empty_hub.url, revision="v9", public=True)
    assert empty_hub.repos[KEY].private is True


def test_a_pull_request(folder: Path) -> None:
    with HubServer({KEY: {"README.md": b"# Theirs\n"}}) as hub:
        pushed = publish_dataset(folder, REPO, GUEST, hub.url, create_pr=True)
        assert pushed.url == f"{hub.url}/{KEY}/discussions/1"
        assert hub.repos[KEY].files["README.md"] == b"# Theirs\n"
        commit = hub.repos[KEY].at("refs/pr/1")
        assert commit and set(files_of(folder)) <= set(commit.files)


def test_an_interrupted_upload_sends_no_finished_file_again(empty_hub: HubServer, folder: Path) -> None:
    # Of the uploads the third is refused, as a token that has run out would be.
    empty_hub.before["upload"] = [lambda: None, lambda: None, lambda: Refusal(403, "expired").answer]
    with pytest.raises(HubError, match="expired") as refused:
        publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert refused.value.status == 403
    first = list(empty_hub.large.uploads)
    parquet = [path for path in files_of(folder) if path.endswith(".parquet")]
    assert 2 <= len(first) < len(parquet) and empty_hub.commits(KEY) == ["initial commit"]
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert len(empty_hub.large.uploads) == len(set(empty_hub.large.uploads)) == len(parquet)
    assert len(empty_hub.commits(KEY)) == 2


def test_a_dropped_connection_is_tried_again(empty_hub: HubServer, folder: Path) -> None:
    empty_hub.cut["upload"] = [1000]
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert empty_hub.cut["upload"] == []
    assert (
        empty_hub.repos[KEY].files["sft/train-00000-of-00001.parquet"]
        == (folder / "sft/train-00000-of-00001.parquet").read_bytes()
    )


def test_a_slow_hub_and_one_that_asks_for_patience(empty_hub: HubServer, folder: Path) -> None:
    empty_hub.slow = 0.02
    empty_hub.before["preupload"] = [lambda: Refusal(429, "slow down", Retry_After="0").answer]
    assert publish_dataset(folder, REPO, OWNER, empty_hub.url).changed
    assert len(empty_hub.asked("/preupload/")) == 2


def test_large_files_go_in_parts(folder: Path) -> None:
    with HubServer(part_size=5_000) as hub:
        publish_dataset(folder, REPO, OWNER, hub.url)
        assert hub.asked("/complete/") and all(len(request.body) <= 5_000 for request in hub.asked("/store/"))
        path = "apis/train-00000-of-00001.parquet"
        assert hub.repos[KEY].files[path] == (folder / path).read_bytes()
        down = HfApi(endpoint=hub.url, token=OWNER).hf_hub_download(REPO, path, repo_type="dataset")
        assert Path(down).read_bytes() == (folder / path).read_bytes()


@pytest.mark.parametrize(
    ("kind", "refusal", "status", "fix"),
    [
        ("create", Refusal(401, "Invalid credentials in Authorization header"), 401, "hf auth login"),
        ("create", Refusal(403, "no"), 403, "namespace of your own"),
        ("create", Refusal(429, "slow down", Retry_After="7"), 429, "wait 7 seconds"),
        ("create", Refusal(503, "at rest"), 503, "try again later"),
        ("tree", Refusal(404, "gone", "RepoNotFound"), 404, "hf repos create"),
        ("upload", Refusal(403, "Private repository storage limit reached"), 403, "billing"),
        ("batch", Refusal(413, "quota"), 413, "billing"),
        ("commit", Refusal(403, f"no write for {OWNER}"), 403, "pull request"),
        ("commit", Refusal(500, "oops"), 500, "try again later"),
    ],
)
def test_a_refusal_is_one_sentence(
    empty_hub: HubServer, folder: Path, kind: str, refusal: Refusal, status: int, fix: str
) -> None:
    empty_hub.before[kind] = [lambda: refusal.answer]
    with pytest.raises(HubError) as caught:
        publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert caught.value.status == status and fix in str(caught.value.fix)
    assert OWNER not in str(caught.value) and "\n" not in str(caught.value)
    assert not empty_hub.before[kind]
    assert KEY not in empty_hub.repos or empty_hub.commits(KEY) == ["initial commit"]


def test_somebody_else_commits_meanwhile(empty_hub: HubServer, folder: Path) -> None:
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    repo = empty_hub.repos[KEY]
    repo.commit({**repo.files, "report.json": b"{}"}, "by hand")
    empty_hub.before["commit"] = [lambda: repo.commit({**repo.files, "LICENSE": b"x"}, "theirs") and None]
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert empty_hub.commits(KEY)[2:4] == ["by hand", "theirs"] and len(empty_hub.commits(KEY)) == 5
    assert repo.files["LICENSE"] == b"x" and repo.files["report.json"] == (folder / "report.json").read_bytes()


def test_the_wrong_type_namespace_or_token(folder: Path) -> None:
    with HubServer({"me/model": {"config.json": b"{}"}}) as hub:
        for repo, token, kind, names in (
            ("me/model", OWNER, OptionError, "--repo-id"),
            ("them/data", OWNER, HubError, 403),
            ("data", OWNER, OptionError, "--repo-id"),
            ("me//data", OWNER, OptionError, "--repo-id"),
            ("me/data", None, OptionError, "HF_TOKEN"),
            ("me/data", "hf_Wrong", HubError, 401),
        ):
            with pytest.raises(kind) as caught:
                publish_dataset(folder, repo, token, hub.url)
            assert names in (caught.value.option, getattr(caught.value, "status", None))
        assert set(hub.repos) == {"me/model"}


def edit_card(folder: Path, change: Callable[[str], str]) -> None:
    card = folder / "README.md"
    card.write_text(change(card.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: (f / "README.md").unlink(), "no README.md"),
        (lambda f: edit_card(f, lambda t: t + "[[rows]]"), "has no value for rows"),
        (lambda f: edit_card(f, lambda t: "# Mine\n"), "metadata that cannot be read"),
        (
            lambda f: edit_card(f, lambda t: t.replace("path: sft/train-*", "path: sft/test-*")),
            "names sft/test-.*no file",
        ),
        (
            lambda f: shutil.copy(f / "sft/train-00000-of-00001.parquet", f / "sft/more.parquet"),
            "no config for sft/more",
        ),
        (
            lambda f: pq.write_table(
                pq.read_table(f / "sft/train-00000-of-00001.parquet")[:3], f / "sft/train-00000-of-00001.parquet"
            ),
            "rows of sft/train, the Parquet files have 3",
        ),
        (lambda f: (f / "sft/train-00000-of-00001.parquet").write_bytes(b"PAR1"), "no whole Parquet file"),
        (lambda f: shutil.rmtree(f), "no such folder"),
    ],
)
def test_a_card_that_says_what_the_files_do_not(
    empty_hub: HubServer, folder: Path, harm: Callable[[Path], object], words: str
) -> None:
    harm(folder)
    with pytest.raises((InputError, NotFoundError), match=words):
        publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert empty_hub.seen == []


def test_a_token_in_a_row_stays_here(empty_hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "sft/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    ids = ["call it with key=" + "my-own-secret-key", *table["id"].to_pylist()[1:]]
    pq.write_table(table.set_column(0, table.schema.field("id"), [ids]), path)
    dataset_manifest(folder, REPO)
    monkeypatch.setenv("APILAYER_ACCESS_KEY", "my-own-secret-key")
    with pytest.raises(InputError) as caught:
        publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert (
        caught.value.file == "sft/train-00000-of-00001.parquet"
        and "my-own" not in str(caught.value)
        and empty_hub.seen == []
    )


def test_what_does_not_belong_stays_behind(empty_hub: HubServer, folder: Path) -> None:
    (folder / ".env").write_text("HF_TOKEN=hf_x")
    (folder / "notes.txt").write_text("mine")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.parquet").write_bytes(b"")
    publish_dataset(folder, REPO, OWNER, empty_hub.url)
    assert not {".env", "notes.txt", ".cache/x.parquet"} & set(empty_hub.repos[KEY].files)
    assert dataset_manifest(folder, REPO).left_out == {
        ".cache/": "hidden",
        ".env": "hidden",
        "notes.txt": "no part of a published repo",
    }

"""A Hub on loopback: model repos with branches and pull requests, as far as evaluation results need them.

It refuses what it does not know, and what the Hub refuses: wrong fields, a commit of files that were not announced, one on
a parent that is no longer the head, a token that may not write.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import yaml

Files = dict[str, bytes]
Answer = tuple[int, dict[str, str], bytes]

OWNER, GUEST = "hf_OwnerOwnerOwner", "hf_GuestGuestGuest"
"""Tokens: one that may write to every repo, one that may propose pull requests alone."""


@dataclass
class Commit:
    """A state of a repo."""

    sha: str
    parent: str | None
    files: Files
    summary: str


@dataclass
class Repo:
    """A model repo: its commits, and the branches and pull requests that point at them."""

    commits: dict[str, Commit] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, summary: str, revision: str = "main") -> Commit:
        """Commit a whole tree."""
        parent = self.heads.get(revision, self.heads.get("main"))
        sha = hashlib.sha1(f"{parent}{revision}{summary}{sorted(files.items())}".encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, files, summary)
        self.heads[revision] = sha
        return self.commits[sha]

    def at(self, revision: str) -> Commit | None:
        """What a branch, a pull request or a commit's id names."""
        return self.commits.get(self.heads.get(revision, revision))

    @property
    def files(self) -> Files:
        """What is on the main branch."""
        return self.commits[self.heads["main"]].files


@dataclass
class Request:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Refusal(Exception):
    """A request that is refused: status, message, and the Hub's code for it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.answer = (
            status,
            {"Content-Type": "application/json", "X-Error-Message": message}
            | ({"X-Error-Code": code} if code else {}),
            json.dumps({"error": message}).encode(),
        )


def git_blob(content: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def ok(value: Any) -> Answer:
    """A JSON answer."""
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


class HubServer:
    """The server, to be used in `with`.

    Args:
        repos (`dict[str, Files]`): Repos and the files they begin with.
    """

    def __init__(self, repos: dict[str, Files]) -> None:
        self.repos = {name: Repo() for name in repos}
        for name, files in repos.items():
            self.repos[name].commit({".gitattributes": b"", **files}, "initial commit")
        self.seen: list[Request] = []
        self.before: dict[str, list[Callable[[], Answer | None]]] = {}
        """By kind of request, what happens before the next ones; an answer is given in place of the Hub's own."""
        self._announced: dict[str, dict[str, int]] = {}

    def __enter__(self) -> "HubServer":
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, url.path, dict(parse_qsl(url.query)), headers, body)
                hub.seen.append(request)
                try:
                    status, extra, content = hub.route(request)
                except Refusal as refusal:
                    status, extra, content = refusal.answer
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commits(self, repo: str) -> list[str]:
        """Summaries of all commits, those of pull requests too."""
        return [commit.summary for commit in self.repos[repo].commits.values()]

    def asked(self, kind: str) -> list[Request]:
        """The requests of a kind."""
        return [request for request in self.seen if kind in request.path]

    def route(self, request: Request) -> Answer:
        """Find who answers a request."""
        if request.path == "/api/validate-yaml":
            return self._validate(request)
        api = re.fullmatch(
            r"/api/models/(?P<repo>[^/]+/[^/]+?)(?:/(?P<kind>revision|paths-info|preupload|commit)/(?P<revision>[^/]+))?",
            request.path,
        )
        page = re.fullmatch(r"/(?P<repo>[^/]+/[^/]+)/(?P<kind>resolve)/(?P<revision>[^/]+)/(?P<path>.+)", request.path)
        match = api or page
        if match is None:
            raise Refusal(404, f"no route {request.method} {request.path}")
        kind, revision = match["kind"] or "revision", unquote(match["revision"] or "main")
        writing = kind in ("preupload", "commit")
        if waiting := self.before.get(kind):
            if (answer := waiting.pop(0)()) is not None:
                return answer
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in ("", OWNER, GUEST):
            raise Refusal(401, "Invalid credentials in Authorization header")
        repo = self.repos.get(match["repo"])
        if repo is None:
            raise Refusal(404, "Repository not found", "RepoNotFound") if token else Refusal(401, "Invalid username")
        if writing and not token:
            raise Refusal(401, "Invalid username or password.")
        proposed = request.query == {"create_pr": "1"}
        if request.query and not (writing and proposed):
            raise Refusal(400, f"unknown query {request.query}")
        if writing and token != OWNER and not proposed:
            raise Refusal(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        at = repo.at(revision)
        if at is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        method = "POST" if writing or kind == "paths-info" else "GET"
        if request.method != method and not (kind == "resolve" and request.method == "HEAD"):
            raise Refusal(405, f"{kind} takes {method}")
        if kind == "revision":
            names = [{"rfilename": name} for name in at.files]
            return ok({"id": match["repo"], "modelId": match["repo"], "sha": at.sha, "siblings": names})
        if kind == "paths-info":
            return self._paths(request, at)
        if kind == "preupload":
            return self._preupload(request, match["repo"], at)
        if kind == "commit":
            return self._commit(request, match["repo"], repo, revision, proposed)
        return self._resolve(at, unquote(page["path"]) if page else "")

    def _validate(self, request: Request) -> Answer:
        body = json.loads(request.body)
        if request.method != "POST" or set(body) != {"content", "repoType"} or body["repoType"] != "model":
            raise Refusal(400, "validate-yaml takes content and repoType")
        block = re.match(r"---\r?\n(.*?)\r?\n---", body["content"], flags=re.DOTALL)
        try:
            metadata = yaml.safe_load(block[1]) if block else {}
            for model in metadata.get("model-index", []):
                assert set(model) == {"name", "results"} and isinstance(model["name"], str), "model-index"
                for result in model["results"]:
                    assert isinstance(result["task"]["type"], str), "task.type"
                    assert all(isinstance(result["dataset"][name], str) for name in ("type", "name")), "dataset"
                    assert result["metrics"] and all("type" in m and "value" in m for m in result["metrics"]), (
                        "metrics"
                    )
        except (yaml.YAMLError, AttributeError, KeyError, TypeError, AssertionError) as error:
            answer = json.dumps({"errors": [{"message": f"wrong metadata: {error}"}], "warnings": []})
            return 400, {"Content-Type": "application/json"}, answer.encode()
        return ok({"errors": [], "warnings": []})

    def _paths(self, request: Request, at: Commit) -> Answer:
        form = parse_qs(request.body.decode())
        if set(form) != {"paths", "expand"}:
            raise Refusal(400, "paths-info takes paths and expand")
        found = [path for path in form["paths"] if path in at.files]
        return ok([{"type": "file", "path": p, "size": len(at.files[p]), "oid": git_blob(at.files[p])} for p in found])

    def _preupload(self, request: Request, name: str, at: Commit) -> Answer:
        body = json.loads(request.body)
        if set(body) != {"files"} or any(set(file) != {"path", "sample", "size"} for file in body["files"]):
            raise Refusal(400, "preupload takes files with path, sample and size")
        for file in body["files"]:
            if len(base64.b64decode(file["sample"], validate=True)) != min(512, file["size"]):
                raise Refusal(400, f"the sample of {file['path']} is not its first 512 bytes")
            if file["size"] > 10_000_000:
                raise Refusal(400, "this Hub takes no large files")
        self._announced[name] = {file["path"]: file["size"] for file in body["files"]}
        oids = {path: {"oid": git_blob(at.files[path])} for path in self._announced[name] if path in at.files}
        return ok(
            {
                "files": [
                    {"path": path, "uploadMode": "regular", "shouldIgnore": False} | oids.get(path, {})
                    for path in self._announced[name]
                ]
            }
        )

    def _commit(self, request: Request, name: str, repo: Repo, revision: str, proposed: bool) -> Answer:
        if request.headers.get("content-type") != "application/x-ndjson":
            raise Refusal(400, "commit takes application/x-ndjson")
        if revision not in repo.heads:
            raise Refusal(400, "a commit goes to a branch")
        lines = [json.loads(line) for line in request.body.splitlines()]
        if any(set(line) != {"key", "value"} for line in lines) or lines[0]["key"] != "header":
            raise Refusal(400, "each line has a key and a value; the header is first")
        header = lines[0]["value"]
        if not {"summary", "description"} <= set(header) <= {"summary", "description", "parentCommit"}:
            raise Refusal(400, f"wrong header {header}")
        base = repo.commits[repo.heads[revision]]
        if "parentCommit" in header and header["parentCommit"] != base.sha:
            if not proposed:
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            base = repo.commits[header["parentCommit"]]
        files = dict(base.files)
        for line in lines[1:]:
            path = line["value"]["path"]
            if line["key"] == "deletedFile" and set(line["value"]) == {"path"} and path in files:
                del files[path]
            elif line["key"] == "file" and line["value"] == {**line["value"], "encoding": "base64"}:
                content = base64.b64decode(line["value"]["content"], validate=True)
                if self._announced.get(name, {}).get(path) != len(content):
                    raise Refusal(400, f"{path} was not announced with that size")
                files[path] = content
            else:
                raise Refusal(400, f"wrong operation {line['key']} of {path}")
        number = sum(head.startswith("refs/pr/") for head in repo.heads) + 1
        commit = repo.commit(files, header["summary"], f"refs/pr/{number}" if proposed else revision)
        answer = {"success": True, "commitOid": commit.sha, "commitUrl": f"{self.url}/{name}/commit/{commit.sha}"}
        return ok(answer | ({"pullRequestUrl": f"{self.url}/{name}/discussions/{number}"} if proposed else {}))

    def _resolve(self, at: Commit, path: str) -> Answer:
        if path not in at.files:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        headers = {"ETag": f'"{git_blob(at.files[path])}"', "X-Repo-Commit": at.sha, "Accept-Ranges": "bytes"}
        return 200, headers, at.files[path]

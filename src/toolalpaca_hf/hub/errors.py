"""Connects to the Hub: checks endpoint, repo id and token, and translates the Hub's errors."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from urllib.parse import urlsplit

from huggingface_hub import HfApi, get_token
from huggingface_hub import errors as hf
from huggingface_hub.constants import is_offline_mode
from huggingface_hub.utils import validate_repo_id

from ..errors import OptionError, ToolAlpacaError

LOGIN = "log in with `hf auth login` or set HF_TOKEN"
_QUOTA = re.compile(r"quota|storage", re.IGNORECASE)
_INVALID_TOKEN = "Invalid credentials in Authorization header"


class HubError(ToolAlpacaError):
    """The Hub rejected a request, or cannot be reached; `status` is HTTP's, if it answered. No token is in it."""

    def __init__(self, problem: str, status: int | None = None, fix: str | None = None) -> None:
        super().__init__(problem, fix=fix)
        self.status = status


def connect(token: str | None = None, endpoint: str | None = None) -> HfApi:
    """Create a Hub client without contacting the Hub; defaults come from `HF_TOKEN` and `HF_ENDPOINT`."""
    token = (token or "").strip() or None
    api = HfApi(endpoint=endpoint.rstrip("/") if endpoint else None, token=token, library_name="toolalpaca-hf")
    address = urlsplit(api.endpoint)
    if address.scheme not in ("http", "https") or not address.hostname or address.username:
        raise OptionError("no address of a Hub", option="HF_ENDPOINT", fix="pass one such as https://huggingface.co")
    return api


def check_repo_id(repo_id: str) -> None:
    """Raise an [`OptionError`] unless the id is like `me/my-model`."""
    try:
        validate_repo_id(repo_id)
    except ValueError:
        raise OptionError(f"{repo_id!r} is no repo id", option="--repo-id", fix="pass me/my-model") from None
    if "/" not in repo_id:
        raise OptionError(f"{repo_id!r} names no namespace", option="--repo-id", fix=f"pass one such as me/{repo_id}")


def check_token(api: HfApi) -> None:
    if not (api.token or get_token()):
        raise OptionError("a push needs a token", option="HF_TOKEN", fix=LOGIN)


def check_push(repo_id: str) -> None:
    """Raise an [`OptionError`] before long work, without contacting the Hub, where a push would fail after it."""
    check_repo_id(repo_id)
    check_token(connect())


@contextmanager
def hub_errors(
    api: HfApi, repo_id: str, revision: str | None = None, repo_type: str = "model", fetching: bool = False
) -> Iterator[None]:
    """Translate huggingface_hub's exceptions to a [`HubError`], without the token."""
    endpoint = api.endpoint
    absent = f"there is no {repo_type} repo {repo_id} at {endpoint} that your token may see"
    create = "" if fetching else f"create it with `hf repos create {repo_id}`, "
    check_name = f"check its name, {create}or {LOGIN}"

    def clean(said: object) -> str:
        text = " ".join(str(said or "").split())
        for secret in filter(None, (api.token, get_token())):
            text = text.replace(str(secret), "***")
        return text

    def refused(said: str, status: int | None = None) -> HubError:
        if status in (None, 402, 403, 413, 507) and _QUOTA.search(said):
            fix = f"free some at {endpoint}/settings/billing, push with --public, or push to another namespace"
            return HubError(f"there is no storage left for {repo_id} ({said})", status, fix)
        what = "does not hand over" if fetching else "refuses the push to"
        problem = f"{endpoint} {what} {repo_id}{f' with status {status}' if status else ''} ({said})"
        return HubError(problem, status, "fix what it names and try again")

    def answered(error: hf.HfHubHTTPError) -> HubError:
        status, headers = error.response.status_code, error.response.headers
        message = clean(error.server_message)
        if status == 401 and headers.get("X-Error-Message") != _INVALID_TOKEN:
            return HubError(absent, status, check_name)  # huggingface_hub knows a missing repo by a 401 only on https
        if status in (403, 507) and _QUOTA.search(message):
            return refused(message, status)
        if str(error.response.request.url).endswith("/api/repos/create"):
            problem = f"your token may not create a repo under {repo_id.split('/')[0]}"
            forbidden = problem, "push to a namespace of your own, or use a token with write access to this one"
        elif fetching:
            forbidden = f"your token may not read {repo_id}", "ask its owner for access"
        else:
            forbidden = f"your token may not write to {repo_id}", "use one that may, or open a pull request with --pr"
        seconds = headers.get("Retry-After", "")
        wait = f"{seconds} seconds" if seconds.isdigit() else "some minutes"
        changed = f"{repo_id} was changed by somebody else at the same time, twice", "try again"
        said = {
            401: (f"{endpoint} does not accept the token", LOGIN),
            403: forbidden,
            409: changed,
            412: changed,
            429: (f"{endpoint} has had too many requests from you", f"wait {wait} and try again"),
        }
        if status >= 500:
            said[status] = f"{endpoint} fails with status {status}", "try again later"
        if status not in said:
            return refused(message, status)
        problem, fix = said[status]
        return HubError(problem + (f" ({message})" if message else ""), status, fix)

    offline = " and without HF_HUB_OFFLINE" if is_offline_mode() else ""
    absent_here = f"{repo_id} at {revision or 'main'} is not whole in the cache and {endpoint} cannot be reached"
    oidc = "HF_OIDC_RESOURCE is set, but no token comes of it"
    known = (  # offline is the cause of what is not in the cache, which comes before it
        (hf.HFValidationError, f"{repo_id!r} is no repo id", None, "pass one such as me/my-model"),
        (hf.GatedRepoError, f"{repo_id} is gated", 403, f"ask for access at {endpoint}/{repo_id} and try again"),
        (hf.RepositoryNotFoundError, absent, 404, check_name),
        (hf.RevisionNotFoundError, f"{repo_id} has no revision {revision or 'main'}", 404, "pass one that it has"),
        (hf.LocalEntryNotFoundError, absent_here, None, f"fetch it once with the network{offline}"),
        (hf.OfflineModeIsEnabled, f"nothing is pushed to {repo_id}, as HF_HUB_OFFLINE is set", None, "unset it"),
        (hf.OIDCError, oidc, None, "unset it and set HF_TOKEN, or fix the CI's permissions"),
        (UnicodeEncodeError, "the token is none of the Hub's", None, LOGIN),
    )

    def translated(error: BaseException | None) -> HubError | None:
        for kind, problem, status, fix in known:
            if isinstance(error, kind):
                return HubError(problem, status, fix)
        match error:
            case hf.HfHubHTTPError():
                return answered(error)
            case hf.HTTPError():  # huggingface_hub's name for the errors of whichever HTTP library it chose
                fix = "check the network, or HF_ENDPOINT, and try again"
                return HubError(f"{endpoint} cannot be reached ({type(error).__name__})", fix=fix)
            case RuntimeError() if isinstance(error.__cause__, hf.HTTPError):  # an upload that failed
                return translated(error.__cause__)
            case KeyError() | ValueError() if not _is_of_client(error):
                return None  # a bug of ours must surface as one
            case KeyError() | json.JSONDecodeError():
                return HubError(f"{endpoint} does not answer as a Hub does", fix="check HF_ENDPOINT")
            case ValueError():  # what the client makes of the Hub's own check of the card, and of a full store
                said = clean(error)
                if said.startswith("LFS batch API"):
                    return refused(said)
                problem = f"{endpoint} does not accept the metadata in README.md of {repo_id} ({said})"
                return HubError(problem, fix="fix it and try again")
        return None

    try:
        yield
    except Exception as error:
        if found := translated(error):
            raise found from None
        raise


def _is_of_client(error: Exception) -> bool:
    names = (str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__))
    return any(name.partition(".")[0] == "huggingface_hub" for name in names)

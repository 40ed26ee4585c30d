"""What the Hub, or the way to it, refuses: one sentence each, and what to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import get_token

# The HTTP library is huggingface_hub's own choice, and this is its name for the errors of all of them.
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import ToolAlpacaError


@contextmanager
def refusals(repo_id: str, endpoint: str, token: str | None = None, revision: str | None = None) -> Iterator[None]:
    """Turn what huggingface_hub raises into [`ToolAlpacaError`].

    Args:
        repo_id (`str`): The repo that is spoken of.
        endpoint (`str`): The Hub's address.
        token (`str`, *optional*): What the user passed; neither it nor the one that is logged in gets into a message.
        revision (`str`, *optional*): What the user named.

    Raises:
        [`ToolAlpacaError`]: One sentence that says what is wrong and what to do.

    Example:

    ```python
    >>> with refusals("me/model", "http://127.0.0.1:9"):
    ...     raise OfflineModeIsEnabled()
    Traceback (most recent call last):
        ...
    toolalpaca_hf.errors.ToolAlpacaError: nothing is pushed to me/model, as HF_HUB_OFFLINE is set; unset it
    ```
    """
    try:
        yield
    except HFValidationError:
        raise ToolAlpacaError(f"{repo_id!r} is no repo id; pass one such as me/my-model") from None
    except GatedRepoError:
        raise ToolAlpacaError(f"{repo_id} is gated; ask for access at {endpoint}/{repo_id} and try again") from None
    except RepositoryNotFoundError:
        raise ToolAlpacaError(_no_repo(repo_id, endpoint)) from None
    except RevisionNotFoundError:
        raise ToolAlpacaError(f"{repo_id} has no revision {revision or 'main'}; pass one that it has") from None
    except HfHubHTTPError as error:
        raise ToolAlpacaError(_sentence(error, repo_id, endpoint, token)) from None
    except OfflineModeIsEnabled:
        raise ToolAlpacaError(f"nothing is pushed to {repo_id}, as HF_HUB_OFFLINE is set; unset it") from None
    except HTTPError as error:
        raise ToolAlpacaError(
            f"{endpoint} can not be reached ({type(error).__name__}); check the network, or HF_ENDPOINT, and try again"
        ) from None
    except (json.JSONDecodeError, KeyError):
        raise ToolAlpacaError(f"{endpoint} does not answer as a Hub does; check HF_ENDPOINT") from None
    except OIDCError:
        raise ToolAlpacaError(
            "HF_OIDC_RESOURCE is set, but no token comes of it; unset it and set HF_TOKEN, or mend the CI's permissions"
        ) from None
    except UnicodeEncodeError:
        raise ToolAlpacaError("the token is none of the Hub's; log in with `hf auth login` or set HF_TOKEN") from None
    except ValueError as error:  # what huggingface_hub makes of the Hub's own check of the card
        said = " ".join(str(error).split())
        raise ToolAlpacaError(
            f"{endpoint} does not accept the card's metadata ({said}); mend README.md of {repo_id} and try again"
        ) from None


def _no_repo(repo_id: str, endpoint: str) -> str:
    return (
        f"there is no model repo {repo_id} at {endpoint} that your token may see; check its name, create it with "
        f"`hf repos create {repo_id}`, or log in with `hf auth login` or HF_TOKEN"
    )


def _sentence(error: HfHubHTTPError, repo_id: str, endpoint: str, token: str | None) -> str:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())
    for secret in filter(None, (token, get_token())):
        said = said.replace(secret, "***")
    said = f" ({said})" if said else ""
    if status == 401:
        if error.response.headers.get("X-Error-Message") != "Invalid credentials in Authorization header":
            return _no_repo(repo_id, endpoint)  # huggingface_hub tells a missing repo by a 401 only behind https
        return f"{endpoint} does not accept the token{said}; log in with `hf auth login` or set HF_TOKEN"
    if status == 403:
        return (
            f"your token may not write to {repo_id}{said}; use a token with write access to it, or propose the change "
            "as a pull request"
        )
    if status in (409, 412):
        return f"{repo_id} was changed by somebody else at the same time, twice{said}; try again"
    if status == 429:
        return f"{endpoint} has had too many requests from you{said}; wait some minutes and try again"
    if status >= 500:
        return f"{endpoint} fails with status {status}{said}; try again later"
    return f"{endpoint} refuses the push to {repo_id} with status {status}{said}; mend what it names and try again"

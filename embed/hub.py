"""Ask the Hugging Face hub once whether it can be reached, and do without it where it cannot.

Its client asks six times for each file, with ever longer waits: most of a minute without network.
"""

import contextlib
import logging
from collections.abc import Iterator

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds for the one answer


@contextlib.contextmanager
def offline_unless_reachable(repository: str) -> Iterator[str]:
    """Let the client look into its cache alone if the hub does not answer.

    Args:
        repository: owner/name, perhaps @revision, of the hub.

    Yields:
        Why the hub cannot be reached; "" if it can.
    """
    problem, before = find_problem(repository.partition("@")[0]), constants.HF_HUB_OFFLINE
    if problem:
        # What the environment variable of this name sets when the library is imported.
        constants.HF_HUB_OFFLINE = True
    try:
        yield problem
    finally:
        constants.HF_HUB_OFFLINE = before


def find_problem(repository: str) -> str:
    """Ask for a repository's config.json once; return why there is no answer, "" if there is."""
    try:
        get_hf_file_metadata(hf_hub_url(repository, "config.json"), timeout=PATIENCE)
    except HfHubHTTPError:
        return ""  # an answer, whatever it says
    except Exception as error:  # whatever a strange network makes its HTTP client raise
        text = (str(error).splitlines() or ["no message"])[0][:120]
        return f"{type(error).__name__}: {text}"
    return ""

"""Settings of a download, validated when made. Imports nothing heavy."""

from pydantic import Field, field_validator

from embed.settings import Settings

from .sizes import parse_size


class DownloadSettings(Settings):
    """How images are asked for and kept."""

    size: str = "original"  # see sizes.py
    connections: int = Field(64, ge=1, le=512)  # requests at one time, of all hosts
    per_host: int = Field(8, ge=1)  # of one host (name and port)
    max_tries: int = Field(4, ge=1)  # requests for one image, where asking again can help
    connect_timeout: float = Field(10.0, gt=0)  # seconds, for each address of a host
    silence_timeout: float = Field(20.0, gt=0)  # seconds without a byte
    grace: float = Field(30.0, gt=0)  # seconds before min_rate counts; redirects included
    min_rate: int = Field(2000, ge=1)  # bytes a second after that
    max_bytes: int = Field(32 << 20, ge=1)  # of one image as sent, and when unpacked
    max_redirects: int = Field(5, ge=0)
    base_delay: float = Field(1.0, gt=0)  # seconds; doubles with each try
    max_delay: float = Field(120.0, gt=0)  # seconds; the longest wait that a server can ask for
    host_failures: int = Field(30, ge=1)  # images in a row not had in time: the host is given up
    allow_private: bool = False  # private addresses and any port, such as a server in the house
    user_agent: str = Field("cairn/0.1 (image download for landmark recognition)", min_length=1)

    @field_validator("size")
    @classmethod
    def _check_size(cls, value: str) -> str:
        return parse_size(value).name

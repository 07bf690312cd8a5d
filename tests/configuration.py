"""What tests of refused configurations share."""

from pathlib import Path

import pytest

from exporter.config import ConfigError, load

ADDRESS = "the address of an agent: host, host:port, an IPv6 address, or [IPv6]:port"


def report(path: Path | None, environ: dict[str, str] | None = None) -> str:
    """Return the report of a configuration that must be refused, without the file's name in front."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value).removeprefix(f"{path}: ")

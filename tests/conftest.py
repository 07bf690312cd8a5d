"""How tests run: property tests without a deadline on a noisy machine, and with the same examples every time in CI."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.fakes.control_plane_fixtures"]

# Each property has tests by example beside it. Half of Hypothesis' usual number of examples finds what breaks plainly;
# what needs luck is looked for every night, among many more than anyone waits for.
settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
# `make test-fast` is for what breaks at once.
settings.register_profile("quick", settings.get_profile("local"), max_examples=15)
# Where CI is set, hypothesis itself turns chance off for each profile that does not say otherwise.
settings.register_profile("nightly", deadline=None, derandomize=False, max_examples=1500, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Each TLS context reads all the CAs that the machine trusts, which takes 30 ms, and each program that a test starts
# makes some. Nothing here is signed by any of them.
os.environ["SSL_CERT_FILE"] = os.devnull

# A shell's background job ignores Ctrl-C, and so would each program that tests start and end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest-asyncio asks for "the current event loop" before it makes its own, and asyncio answers a first question of that
# kind by making one that nobody closes. Once it was set, even to None, it is not made.
asyncio.set_event_loop(None)


_VIRTUAL_TIME = pytest.mark.looptime(noop_cycles=4)
"""Before its clock moves on, looptime turns the loop 42 times without need: whatever is ready has run by then. A few
turns are left for what comes through the kernel from another socket of the same loop."""

_LONGEST_FIRST = ("chaos", "integration", "alerts", "dashboards", "chart", "image")
"""Folders whose tests wait for real servers. They begin, or one of them would be all that is left to do at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, hasten virtual time, and let slow tests leave connections to servers they killed.

    The garbage collector closes those, and complains of it.
    """
    items.sort(key=lambda item: item.path.parent.name not in _LONGEST_FIRST)
    for item in items:
        if item.get_closest_marker("looptime"):
            item.add_marker(_VIRTUAL_TIME)
        if item.get_closest_marker("slow"):
            item.add_marker(
                pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
            )


def pytest_collection_finish() -> None:
    """Keep what the session itself has on its heap out of the garbage collector's walks, which are many (see below).

    They begin after 20,000 new objects, not after every 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration file and return its path."""

    def write_text(text: str, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


@pytest.fixture(autouse=True)
def _own_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what a slow test left while that test is still to blame, not in whichever test comes next."""
    yield
    if request.node.get_closest_marker("slow"):
        gc.collect()


@pytest.fixture
def restore_logging() -> Iterator[None]:
    """Give pytest its handlers and levels back."""
    root, own = logging.getLogger(), logging.getLogger("exporter")
    handlers, levels = root.handlers[:], (root.level, own.level)
    root.handlers[:] = []
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])

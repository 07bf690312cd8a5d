"""How tests run: property tests without a deadline on a noisy machine, and with the same examples every time in CI."""

import asyncio
import os

from hypothesis import settings

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# pytest-asyncio asks for "the current event loop" before it makes its own, and asyncio answers a first question of that
# kind by making one that nobody closes. Once it was set, even to None, it is not made.
asyncio.set_event_loop(None)

"""The thread for what blocks: in order, to its end, and in nobody's way."""

import asyncio
import subprocess
import sys
from threading import Event

import pytest

from exporter.disk_thread import DiskThread
from tests.waiting import eventually


async def test_one_thing_after_the_other() -> None:
    """In the order given, with results and errors for whoever waits."""
    thread, done = DiskThread("test"), list[int]()

    def work(number: int) -> int:
        done.append(number)
        if number == 2:
            raise OSError("the disk is away")
        return 10 * number

    results = await asyncio.gather(*(thread.run(work, number) for number in range(4)), return_exceptions=True)
    assert done == [0, 1, 2, 3]
    assert [results[0], results[1], results[3]] == [0, 10, 30]
    assert isinstance(results[2], OSError)
    assert not thread.busy
    thread.close()


async def test_what_is_given_up_is_completed(caplog: pytest.LogCaptureFixture) -> None:
    """A timeout gives up the waiting, not the work; an error that comes later is no news."""
    thread, released, ended = DiskThread("test"), Event(), Event()

    def work() -> None:
        released.wait()
        ended.set()
        raise OSError("too late")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await thread.run(work)
    assert thread.busy
    released.set()
    await eventually(lambda: not thread.busy)
    assert ended.is_set()
    assert await thread.run(lambda: "next") == "next"
    assert not caplog.records
    thread.close()


def test_a_disk_that_hangs_does_not_keep_the_process() -> None:
    """The interpreter would wait for a pool's thread; here it ends while the thread still hangs."""
    program = """
import asyncio, threading
from exporter.disk_thread import DiskThread

async def main():
    thread = DiskThread("hangs")
    try:
        async with asyncio.timeout(0.05):
            await thread.run(threading.Event().wait)
    except TimeoutError:
        print("given up")

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "given up\n"
    assert not ended.stderr

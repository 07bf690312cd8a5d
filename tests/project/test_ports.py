"""No two programs that tests start are given the same port."""

import json
import socket
import subprocess
import sys

from tests.fakes import ports

MANY = 200
ASK = f"""
import json
from tests.fakes.ports import free_port, _left
_left.sort()
print(json.dumps([free_port() for _ in range({MANY})]), flush=True)
input()
"""


def test_processes_are_given_different_ports() -> None:
    """As long as they run, and although all try the same ones in the same order here."""
    command = [sys.executable, "-c", ASK]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = [json.loads(process.stdout.readline()) for process in running if process.stdout]
    for process in running:
        process.communicate("\n")
    assert len({port for ports_of_one in given for port in ports_of_one}) == 3 * MANY


def test_the_kernel_gives_them_to_nobody() -> None:
    kernels = set()
    for _ in range(MANY):
        with socket.create_server(("127.0.0.1", 0)) as server:
            kernels.add(server.getsockname()[1])
    assert not kernels & {*ports._left, *(ports.free_port() for _ in range(MANY))}


def test_one_that_somebody_listens_on_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", ports._left[-1])) as server:
        assert ports.free_port() != server.getsockname()[1]

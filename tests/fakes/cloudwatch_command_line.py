"""An `aws cloudwatch` command carried out as the AWS command line does it: JSON over HTTP, here without a signature."""

import asyncio
import shlex
from datetime import UTC, datetime
from typing import Any

import aiohttp

from tests.waiting import PATIENCE

LISTS = frozenset({"Dimensions", "Statistics"})
TIMES = frozenset({"StartTime", "EndTime"})
FOR_THE_CLIENT = frozenset({"NoSignRequest", "Region", "EndpointUrl"})


async def ask_cloudwatch(command: str) -> dict[str, Any]:
    """Carry out a command, which may go over several lines; return the answer."""
    program, service, operation, *rest = shlex.split(command.replace("\\\n", " "))
    assert (program, service) == ("aws", "cloudwatch")
    given: dict[str, list[str]] = {}
    for word in rest:
        if word.startswith("--"):
            values = given[_camel(word[2:])] = []
        else:
            values.append(word)
    assert given["NoSignRequest"] == []
    [url] = given["EndpointUrl"]
    body = {name: _value(name, values) for name, values in given.items() if name not in FOR_THE_CLIENT}
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"GraniteServiceVersion20100801.{_camel(operation)}",
    }
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json(content_type=None)
        return answer


def _camel(name: str) -> str:
    return "".join(map(str.capitalize, name.split("-")))


def _value(name: str, values: list[str]) -> Any:
    if name in TIMES:
        return datetime.fromisoformat(values[0]).replace(tzinfo=UTC).timestamp()
    if name == "Period":
        return int(values[0])
    if name == "Dimensions":
        return [dict(part.split("=", 1) for part in value.split(",")) for value in values]
    return values if name in LISTS else values[0]

"""What somebody may do, as a scripted API server judges it."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from exporter.kube.access_review import MAX_CONCURRENT, AccessReview, PathAccess, ResourceAccess, Verdict
from exporter.kube.api import Json
from exporter.kube.client import KubeClient
from exporter.kube.front_proxy import User
from tests.fakes.kube_api import ScriptedKubeApi, reply, status
from tests.waiting import eventually

LIST = ResourceAccess("list", "external.metrics.k8s.io", "v1beta1", "matillion_fleet_demand_tasks", "matillion")
HPA = User("system:serviceaccount:kube-system:hpa", ("system:authenticated",), "u-1", (("scope", ("a", "b")),))


class Judge:
    """An API server that allows by name, takes down what it is asked, and can be slow."""

    def __init__(self) -> None:
        self.asked: list[Json] = []
        self.allowed = {HPA.name}
        self.delay = 0.0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        await asyncio.sleep(self.delay)
        allowed = body["spec"]["user"] in self.allowed
        reason = "" if allowed else "no rule allows it"
        return web.json_response({**body, "status": {"allowed": allowed, "reason": reason}}, status=201)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def judge(api: ScriptedKubeApi) -> Judge:
    judge = Judge()
    api.script([judge])
    return judge


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def review(client: KubeClient, clock: Clock) -> AccessReview:
    return AccessReview(client, monotonic=clock, timeout=1.0)


async def test_asks_with_all_that_is_known(api: ScriptedKubeApi, judge: Judge, review: AccessReview) -> None:
    """User, groups, UID, extras and what is to be done reach the API server as it defines them."""
    assert (await review.authorize(HPA, LIST)).allowed
    assert api.requests[0].method == "POST"
    assert api.requests[0].path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert judge.asked[0]["kind"] == "SubjectAccessReview"
    assert judge.asked[0]["spec"] == {
        "user": HPA.name,
        "groups": ["system:authenticated"],
        "uid": "u-1",
        "extra": {"scope": ["a", "b"]},
        "resourceAttributes": {
            "verb": "list",
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "resource": "matillion_fleet_demand_tasks",
            "namespace": "matillion",
        },
    }
    await review.authorize(HPA, PathAccess("get", "/openapi/v2"))
    assert judge.asked[1]["spec"]["nonResourceAttributes"] == {"verb": "get", "path": "/openapi/v2"}


async def test_an_answer_counts_for_a_moment(judge: Judge, review: AccessReview, clock: Clock) -> None:
    """Permission and refusal alike are remembered for ten seconds, each for its user and its deed alone."""
    for _ in range(3):
        assert (await review.authorize(HPA, LIST)).allowed
        assert await review.authorize(User("eve"), LIST) == Verdict(False, "no rule allows it")
    assert len(judge.asked) == 2
    await review.authorize(HPA, ResourceAccess(**{**fields(LIST), "namespace": "other"}))
    await review.authorize(User(HPA.name), LIST)
    assert len(judge.asked) == 4
    judge.allowed = {"eve"}
    clock.now = 9.9
    assert (await review.authorize(HPA, LIST)).allowed
    clock.now = 10.0
    assert not (await review.authorize(HPA, LIST)).allowed
    assert (await review.authorize(User("eve"), LIST)).allowed


def fields(access: ResourceAccess) -> dict[str, Any]:
    return {name: getattr(access, name) for name in access.__slots__}


async def test_many_at_once_are_one_question(judge: Judge, review: AccessReview) -> None:
    """Requests that arrive while the question is under way wait for its answer; one that gives up takes none along."""
    judge.delay = 0.5
    waiting = [asyncio.create_task(review.authorize(HPA, LIST)) for _ in range(100)]
    await eventually(lambda: judge.asked)
    waiting[50].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(result, Verdict) and result.allowed for result in results].count(True) == 99
    assert len(judge.asked) == 1


async def test_the_first_that_gives_up_leaves_the_question_to_the_next(judge: Judge, review: AccessReview) -> None:
    """Who asked first may leave; the others still get an answer."""
    judge.delay = 0.5
    waiting = [asyncio.create_task(review.authorize(HPA, LIST)) for _ in range(3)]
    await eventually(lambda: judge.asked)
    waiting[0].cancel()
    results = await asyncio.gather(*waiting[1:])
    assert all(result.allowed for result in results)
    assert len(judge.asked) == 2


async def test_too_many_different_questions_are_refused(judge: Judge, review: AccessReview) -> None:
    """A flood of users is not passed on to the API server."""
    judge.delay = 0.2
    judge.allowed = {str(number) for number in range(100)}
    verdicts = await asyncio.gather(*(review.authorize(User(str(number)), LIST) for number in range(100)))
    assert sum(verdict.allowed for verdict in verdicts) == MAX_CONCURRENT
    assert len(judge.asked) == MAX_CONCURRENT
    assert (await review.authorize(User("99"), LIST)).allowed, "a refusal for want of room is not remembered"


@pytest.mark.parametrize(
    "trouble",
    [
        reply(500, status(500)),
        reply(403, status(403, "Forbidden")),
        reply(201, {"kind": "SubjectAccessReview"}),
        reply(201, {"status": {"allowed": "true"}}),
        reply(201, {"status": {"allowed": True, "denied": True}}),
        reply(201, []),
        reply(200, "<html>you are welcome</html>"),
        reply(201, {"status": {"allowed": True}}, after=3.0),
    ],
    ids=["500", "403", "no status", "text", "denied", "list", "html", "too late"],
)
@pytest.mark.slow
async def test_no_answer_is_no_permission(api: ScriptedKubeApi, review: AccessReview, trouble: Any) -> None:
    """Whatever else comes than a clear permission, the answer is no."""
    api.script([trouble])
    assert not (await review.authorize(HPA, LIST)).allowed


async def test_a_failure_is_soon_forgotten_and_logged_once(
    api: ScriptedKubeApi, judge: Judge, review: AccessReview, clock: Clock
) -> None:
    """While the API server is away nobody is let in and it is asked once a second; back again, it is asked at once."""
    api.script([reply(403, status(403, "Forbidden"))])
    with capture_logs() as logs:
        for tenth in range(25):
            clock.now = tenth / 10
            assert not (await review.authorize(HPA, LIST)).allowed
        assert len(api.requests) == 3
        api.script([judge])
        clock.now = 3.0
        assert (await review.authorize(HPA, LIST)).allowed
    assert [entry["event"] for entry in logs] == [
        "permissions cannot be reviewed, requests are denied",
        "permissions can be reviewed again",
    ]
    assert "system:auth-delegator" in logs[0]["fix"]

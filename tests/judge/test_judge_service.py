"""Judging elsewhere: real server processes, refusals, a server that is killed in the middle, Ray actors."""

import contextlib
import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import start

from openmimo.errors import UserError
from openmimo.judge.pool import Judge
from openmimo.judge.remote import RemoteJudge
from openmimo.judge.spread import Busy, Lost, spread
from openmimo.rows import Limits, Problem, Test

ASK = [{"role": "user", "content": "?"}]
SQUARE = Problem("square", "code", ASK, entry_point="f", tests=[Test(str(n), "call", [n], n * n) for n in range(3)])
ECHO = Problem("echo", "code", ASK, tests=[Test("a", "stdin", "x\n", "x\n")])
TUPLE = Problem("tuple", "code", ASK, entry_point="f", tests=[Test("t", "call", [(1, 2j)], {(1,): float("inf")})])
RIGHT, WRONG = "def f(n):\n    return n * n\n", "def f(n):\n    return 2 * n\n"


@contextlib.contextmanager
def server(*options):
    """A real `openmimo judge serve` on a free port; yields (its address, its process)."""
    process = start("judge", "serve", "--port", "0", "--workers", "1", *options)
    try:
        line = process.stdout.readline()
        yield re.search(r"http://\S+", line)[0], process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def place():
    with server("--queue", "8") as (address, _):
        yield address


def kinds(found):
    return [[verdict.verdict for verdict in of_program] for of_program in found]


def test_remote_is_as_local(place):
    items = [
        (SQUARE, RIGHT),
        (ECHO, "print(input())"),
        (SQUARE, WRONG),
        (TUPLE, "def f(x):\n    return {(x[0],): 1e999}"),
    ]
    with Judge() as local, RemoteJudge([place]) as remote:
        assert remote.rung == local.rung
        found = remote.judge_many(items)
        assert kinds(found) == kinds(local.judge_many(items)) == [["AC"] * 3, ["AC"], ["AC", "WA", "AC"], ["AC"]]
        assert [[v.test_id for v in row] for row in found] == [[t.id for t in p.tests] for p, _ in items]
        assert found[0][0].memory_mb > 1
        assert kinds(remote.judge_many(items, stop_on_failure=True)) == [["AC"] * 3, ["AC"], ["AC", "WA"], ["AC"]]
        assert remote.judge_answers([("1/2", "0.5"), ("3", "4"), (None, "4")]) == ["right", "wrong", "unparsable"]
        assert remote.judge_many([]) == [] and remote.judge_answers([]) == []
        with pytest.raises(UserError, match="no verdict without tests"):
            remote.judge_many([(Problem("p", "code", ASK), RIGHT)])


def test_health_and_metrics(place):
    with RemoteJudge([place]) as remote:
        remote.judge_many([(SQUARE, RIGHT), (SQUARE, WRONG)])
    health = httpx.get(f"{place}/health").json()
    assert health["status"] == "ok" and health["workers"] == 1 and health["waiting"] == 0
    page = httpx.get(f"{place}/metrics").text
    counts = dict(re.findall(r'^(openmimo_judge_\w+(?:\{verdict="\w+"\})?) (\S+)$', page, re.MULTILINE))
    assert float(counts['openmimo_judge_tests_total{verdict="WA"}']) >= 1
    assert float(counts["openmimo_judge_programs_total"]) >= 2 and counts["openmimo_judge_workers"] == "1.0"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("judge", b"{", "not JSON"),
        ("judge", b"[]", "not a request for /judge"),
        ("judge", b'{"problems": [], "programs": [[0, "x"]]}', "not a request for /judge"),
        ("judge", b'{"problems": [{"id": "p"}], "programs": []}', r"problems\[0\]: field 'kind' is missing"),
        ("answers", b'{"pairs": [["1"]]}', "not a request for /answers"),
        ("answers", b'{"pairs": [[1, "1"]]}', "a pair is"),
    ],
)
def test_bad_requests_are_one_line(place, path, body, message):
    reply = httpx.post(f"{place}/{path}", content=body)
    assert reply.status_code == 400 and re.search(message, reply.json()["error"])


SLOW = Problem(
    "slow", "code", ASK, entry_point="f", tests=[Test("a", "call", [], 1)], limits=Limits(cpu_s=30, wall_s=60)
)
SLEEP = "import time\ndef f():\n    time.sleep({})\n    return 1"


def request_of(*programs):
    from openmimo.judge.remote import as_data

    return json.dumps({"problems": [as_data(SLOW)], "programs": [[0, program] for program in programs]}).encode()


def waiting(place):
    return httpx.get(f"{place}/health").json()["waiting"]


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def test_a_full_queue_refuses_and_what_was_given_up_is_dropped(place):
    """The worker is held by one program; eight more wait, so the queue is full."""
    with ThreadPoolExecutor() as pool:
        holder = pool.submit(httpx.post, f"{place}/judge", content=request_of(SLEEP.format(4)), timeout=60)
        until(lambda: httpx.get(f"{place}/metrics").text.count("busy_workers 1.0"))
        patient = pool.submit(httpx.post, f"{place}/judge", content=request_of(*[SLEEP.format(0)] * 4), timeout=60)
        until(lambda: waiting(place) == 4)
        with pytest.raises(httpx.ReadTimeout):  # four who give up while they wait
            httpx.post(f"{place}/judge", content=request_of(*[SLEEP.format(50)] * 4), timeout=0.5)
        refused = httpx.post(f"{place}/judge", content=request_of(SLEEP.format(0)))
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        assert "queue is full" in refused.json()["error"]
        assert holder.result().json()["verdicts"][0][0]["verdict"] == "AC"
        assert [row[0]["verdict"] for row in patient.result().json()["verdicts"]] == ["AC"] * 4
    until(lambda: waiting(place) == 0)  # the four that sleep 50 s each were never run
    with RemoteJudge([place]) as remote:
        assert kinds(remote.judge_many([(SQUARE, RIGHT)] * 40)) == [["AC"] * 3] * 40  # more than the queue holds


def test_a_request_that_is_too_large_is_refused():
    with server("--largest-mb", "1") as (place, _):
        reply = httpx.post(f"{place}/judge", content=b" " * (2 << 20))
        assert reply.status_code == 413


def test_one_of_two_servers_is_killed():
    """Nothing is lost, nothing comes twice, and no verdict is made up."""
    quick = [(SQUARE, RIGHT), (SQUARE, WRONG), (ECHO, "print(input())"), (ECHO, "print()")]
    items = quick * 30 + [(SLOW, SLEEP.format(1))] * 4  # the kill comes long before the last ones are done
    with server() as (one, process), server() as (two, _), RemoteJudge([one, two]) as remote:
        judged = threading.Event()

        def kill():
            until(lambda: float(re.search(r"judge_programs_total (\d\S*)", httpx.get(f"{one}/metrics").text)[1]) >= 5)
            os.killpg(process.pid, signal.SIGKILL)
            judged.set()

        killer = threading.Thread(target=kill)
        killer.start()
        found = remote.judge_many(items)
        killer.join()
        assert judged.is_set()
        assert kinds(found) == [["AC"] * 3, ["AC", "WA", "AC"], ["AC"], ["WA"]] * 30 + [["AC"]] * 4
        assert kinds(remote.judge_many(quick)) == [["AC"] * 3, ["AC", "WA", "AC"], ["AC"], ["WA"]]


def test_no_server_is_an_error():
    with pytest.raises(UserError, match="no server answers at http://127.0.0.1:9"):
        RemoteJudge(["http://127.0.0.1:9"])
    with server() as (place, process), RemoteJudge([place], patience_s=0.5) as remote:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(UserError, match="no judge has answered for"):
            remote.judge_many([(SQUARE, RIGHT)])


class Flaky:
    """A lane that is lost, busy or well as its script says, and doubles what it is given."""

    def __init__(self, script, size=3):
        self.name, self.size, self.script, self.done = "flaky", size, list(script), []

    def send(self, items):
        step = self.script.pop(0) if self.script else None
        if step:
            raise step
        self.done += items
        return [2 * item for item in items]

    def alive(self):
        return True


def test_spread_gives_every_item_one_result():
    lanes = [Flaky([Lost(), None, Busy(0.01), Lost()]), Flaky([None, Lost(), Lost()]), Flaky([Busy(0.01)] * 3)]
    items = list(range(100))
    assert spread(items, lanes, 10) == [2 * item for item in items]
    assert sorted(item for lane in lanes for item in lane.done) == items
    with pytest.raises(UserError, match="bad"):
        spread(items, [Flaky([UserError("bad")]), Flaky([])], 10)


@pytest.mark.proof
def test_ray_actors(monkeypatch):
    try:
        import ray
    except ImportError:
        pytest.skip("Ray is not installed")
    from openmimo.judge.on_ray import RayJudge

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with RayJudge(2) as judge:
            items = [(SQUARE, RIGHT), (SQUARE, WRONG)] * 40 + [(SLOW, SLEEP.format(1))] * 4
            killer = threading.Timer(0.3, ray.kill, [judge.actors[0]], {"no_restart": False})
            killer.start()
            assert kinds(judge.judge_many(items)) == [["AC"] * 3, ["AC", "WA", "AC"]] * 40 + [["AC"]] * 4
            killer.join()
            assert kinds(judge.judge_many(items[:2])) == [["AC"] * 3, ["AC", "WA", "AC"]]
            assert judge.judge_answers([("1/2", "0.5"), ("3", "4")]) == ["right", "wrong"]
            with pytest.raises(UserError, match="no verdict without tests"):
                judge.judge_many([(Problem("p", "code", ASK), RIGHT)])
    finally:
        ray.shutdown()

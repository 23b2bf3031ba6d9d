"""The policy on the real clock: engines, judges and a journal around one `StepPolicy` [R 3.4].

    with Driver(workers, scorers, ...) as driver: rollouts = driver.collect(step, sampler.tasks(step))

One loop: carry out the policy's actions, then wait for the next event: a group that is complete (an engine in this
process is stepped while others are waited for), a group that is judged, a worker that is gone or silent. Rewards run in
threads beside generation, one a scorer; the judges themselves are processes. Engines' ids never enter: task n of a step
is sampled from the streams (seed, step, n, i).
"""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from openmimo.errors import UserError
from openmimo.infer.engine import Event, Request
from openmimo.rl.easy_pool import Tasks
from openmimo.rl.rollout.feed import Done
from openmimo.rl.rollout.group import Group, Rollouts, is_valid
from openmimo.rl.rollout.journal import Journal
from openmimo.rl.rollout.policy import SCHEDULES, Abort, Action, Finish, GiveUp, Judge, Start, StepPolicy
from openmimo.rl.rollout.pulled import Pulled
from openmimo.rl.rollout.trace import Life, Trace
from openmimo.rl.rollout.workers import Local, Process, WorkerLost
from openmimo.rl.score import Scored, require_judged
from openmimo.rows import Problem
from openmimo.sections import Rl

Worker = Local | Process | Pulled
Score = Callable[[list[Problem], list[str], list[str]], list[Scored]]
LOOK_S = 1.0  # how often a silent worker is looked after


@dataclass
class Step:
    """What is known of a step under way."""

    number: int
    tasks: Tasks
    policy: StepPolicy
    events: dict[int, list[Event]] = field(default_factory=dict)
    scored: dict[int, list[Scored]] = field(default_factory=dict)
    lives: dict[int, Life] = field(default_factory=dict)
    ready: deque[tuple[str, int]] = field(default_factory=deque)  # events that need no waiting, from the journal
    reward_s: float = 0.0


class Driver:
    """Carries out steps. prompts: token ids by problem id; scorers: one thread each, each with judges of its own."""

    def __init__(
        self, workers: list[Worker], scorers: list[Score], problems: dict[str, Problem],
        prompts: dict[str, tuple[int, ...]], decode: Callable[[list[int]], str], rl: Rl, seed: int,
        journal: Journal | None = None, trace: Trace | None = None,
    ):  # fmt: skip
        self.workers, self.problems, self.prompts, self.decode = workers, problems, prompts, decode
        self.rl, self.seed = rl, seed
        self.journal, self.trace = journal or Journal(None), trace or Trace(None)
        self.scorers: queue.SimpleQueue[Score] = queue.SimpleQueue()
        for score in scorers:
            self.scorers.put(score)
        self.threads = ThreadPoolExecutor(len(scorers), "score")
        self.judged: queue.SimpleQueue[tuple] = queue.SimpleQueue()
        read, write = os.pipe()
        self.bell, self.ring = Connection(read, writable=False), write
        self.slots = sum(worker.slots for worker in workers)

    def collect(self, number: int, tasks: Tasks, state: dict) -> Rollouts:
        """Rolls out step `number`. state: the weights, for engines in other processes."""
        rl, began = self.rl, time.monotonic()
        limit = rl.max_tasks_per_step
        policy = StepPolicy(SCHEDULES[rl.schedule], rl.batch, tasks.expected, rl.group, self.slots, limit)
        step = Step(number, tasks, policy)
        for worker in self.workers:
            worker.left.clear()
            self._safely(worker, lambda worker=worker: worker.update(state, number), step)
        actions: list[Action] = policy.begin()
        while True:
            for action in actions:
                if isinstance(action, Finish):
                    return self._finish(step, action, began)
                self._carry_out(step, action)
            actions = self._next(step)

    def _carry_out(self, step: Step, action: Action) -> None:
        match action:
            case Start(n):
                self._start(step, action)
            case Judge(n):
                step.lives[n].judge = time.monotonic()
                if (scored := self.journal.scored(step.number, n)) is not None:
                    self._book(step, n, scored)
                    step.ready.append(("judged", n))
                else:
                    self.threads.submit(self._score, step, n, step.tasks[n].problem, step.events[n])
            case Abort(n):
                step.lives[n].end, step.lives[n].ended = "aborted", time.monotonic()
                for worker in self.workers:
                    if n in worker.left:
                        del worker.left[n]
                        self._safely(worker, lambda worker=worker: worker.abort(n), step)
            case GiveUp(n, what):
                raise UserError(
                    f"rollout: problem {step.tasks[n].problem} (task {n} of step {step.number + 1}) took down three "
                    f"{what}s; see to the machine's memory, or leave the problem out, then run the same command again"
                )

    def _start(self, step: Step, action: Start) -> None:
        n, task = action.n, step.tasks[action.n]
        life = step.lives.setdefault(n, Life(n, task.problem, task.from_pool, round(task.forecast, 4)))
        life.start, life.forecast, life.reason = time.monotonic(), round(action.forecast, 3), action.reason
        if (events := self.journal.events(step.number, n)) is not None:
            step.events[n], life.lengths = events, [len(e.token_ids) for e in events]
            step.ready.append(("completed", n))
            return
        index = min(range(len(self.workers)), key=lambda i: sum(self.workers[i].left.values()) / self.workers[i].slots)
        worker, life.worker = self.workers[index], index
        prompt, rl = self.prompts[task.problem], self.rl
        keys = [("rollout", step.number, n, sample) for sample in range(rl.group)]
        worker.left[n] = rl.group
        requests = [Request(prompt, rl.max_tokens, key, seed=self.seed) for key in keys]
        self._safely(worker, lambda: worker.start(n, requests), step)

    def _next(self, step: Step) -> list[Action]:
        """The next event, as actions. Blocks until there is one."""
        while True:
            if step.ready:
                what, n = step.ready.popleft()
                return self._judged(step, n) if what == "judged" else getattr(step.policy, what)(n)
            while not self.judged.empty():
                self._take_judged(step)
            for worker in self.workers:
                partly, complete = self._safely(worker, worker.receive, step) or ([], [])
                for n in partly:
                    if n in worker.left:
                        worker.left[n] -= 1
                        step.ready.append(("sampled", n))
                for done in complete:
                    self._take_done(step, worker, done)
            working = any(isinstance(w, Local) and w.feed.busy for w in self.workers)
            if not step.ready and not working:
                wait([self.bell, *(w.connection for w in self.workers if not isinstance(w, Local))], LOOK_S)

    def _safely(self, worker: Worker, do: Callable, step: Step):
        """Does it; a worker that is lost gets a successor, and its tasks start again under their numbers."""
        try:
            return do()
        except WorkerLost:
            lost = sorted(worker.left)
            worker.restart()
            for n in lost:
                for action in step.policy.failed(n, "engine"):
                    self._carry_out(step, action)

    def _take_done(self, step: Step, worker: Worker, done: Done) -> None:
        if done.n not in worker.left:
            return  # aborted meanwhile
        del worker.left[done.n]
        self.journal.write_events(step.number, done.n, done.events)
        step.events[done.n] = done.events
        life = step.lives[done.n]
        life.began, life.prefilled, life.done = min(done.began), min(done.prefilled), max(done.ended)
        life.slot_s = sum(done.ended) - sum(done.began)
        life.lengths = [len(e.token_ids) for e in done.events]
        step.ready.append(("completed", done.n))

    def _score(self, step: Step, n: int, problem_id: str, events: list[Event]) -> None:
        """In a thread: the rewards of a group, or the error that there was; nothing for one aborted meanwhile."""
        if step.policy.over or n not in step.policy.unjudged:
            return
        score, began = self.scorers.get(), time.monotonic()
        try:
            owners = [self.problems[problem_id]] * len(events)
            scored = score(owners, [self.decode(e.token_ids) for e in events], [e.finish_reason for e in events])
            require_judged(owners, scored)
        except BaseException as error:  # raised again by the driver's own thread
            scored = error
        self.scorers.put(score)
        self.judged.put((step.number, n, scored, time.monotonic() - began))
        os.write(self.ring, b".")

    def _take_judged(self, step: Step) -> None:
        number, n, scored, seconds = self.judged.get()
        os.read(self.bell.fileno(), 1)
        if number != step.number:
            return  # an aborted task of a step before
        step.reward_s += seconds
        if isinstance(scored, BaseException):
            if n in step.policy.unjudged:
                raise scored
            return
        self.journal.write_scored(step.number, n, scored)
        self._book(step, n, scored)
        step.lives[n].judge_s = seconds
        step.ready.append(("judged", n))

    def _book(self, step: Step, n: int, scored: list[Scored]) -> None:
        step.scored[n] = scored
        step.lives[n].judged = time.monotonic()

    def _judged(self, step: Step, n: int) -> list[Action]:
        valid = is_valid(step.scored[n], self.rl.filter)
        if n in step.policy.unjudged:
            step.lives[n].valid = valid
        return step.policy.judged(n, valid)

    def _finish(self, step: Step, finish: Finish, began: float) -> Rollouts:
        for n, life in step.lives.items():
            if life.end != "aborted":
                life.end = "kept" if n in finish.batch else "dropped" if n < finish.used else "surplus"
                life.ended = life.judged
        ended = time.monotonic()
        surplus = sum(life.valid is True and n not in finish.batch for n, life in step.lives.items())
        steps = [worker.take_steps() for worker in self.workers]
        self.trace.write(step.number, self.rl, self.workers, list(step.lives.values()), finish, began, ended, steps)
        used = [self._group(step, n) for n in range(finish.used)]
        return Rollouts(
            [used[n] for n in finish.batch], used, step.policy.started, surplus, ended - began, step.reward_s
        )

    def _group(self, step: Step, n: int) -> Group:
        task = step.tasks[n]
        problem, prompt = self.problems[task.problem], self.prompts[task.problem]
        return Group(n, problem, task.from_pool, prompt, step.events[n], step.scored[n])

    def close(self) -> None:
        """Ends threads and workers."""
        self.threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.close()
        self.journal.close()
        self.trace.close()
        self.bell.close()
        os.close(self.ring)

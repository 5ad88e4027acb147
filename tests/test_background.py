"""Threads that start with work and end when there is none."""

from __future__ import annotations

import gc
import threading
import typing as t
import uuid
import weakref

import pytest
from support.waiting import wait_until

from flask_chatwoot.background import BackgroundThread


class Owner:
    """Has a background thread.

    :ivar steps: How many were made.
    """

    def __init__(self, *, every: float = 0.0, idle: float = 0.0) -> None:
        self.steps = 0
        self.is_busy = True
        self.name = f"test-{uuid.uuid4()}"
        self.thread = BackgroundThread(
            self.name,
            self._step,
            busy=lambda: self.is_busy,
            every=lambda: every,
            idle=lambda: idle,
        )

    def _step(self) -> None:
        self.steps += 1


def runs(name: str) -> bool:
    return any(each.name == name for each in threading.enumerate())


@pytest.fixture
def make_owner() -> t.Iterator[t.Callable[..., Owner]]:
    """Makes owners whose threads end with the test."""
    made: weakref.WeakSet[Owner] = weakref.WeakSet()

    def make(**options: float) -> Owner:
        made.add(owner := Owner(**options))

        return owner

    yield make

    for each in made:
        each.is_busy = False


def test_a_thread_repeats_its_step_as_long_as_there_is_work(
    make_owner: t.Callable[..., Owner],
) -> None:
    owner = make_owner()
    owner.thread.ensure()
    owner.thread.ensure()
    wait_until(lambda: owner.steps > 3)
    assert [each.name for each in threading.enumerate()].count(owner.name) == 1

    owner.is_busy = False
    wait_until(lambda: not runs(owner.name))


def test_a_thread_that_ended_starts_again(make_owner: t.Callable[..., Owner]) -> None:
    owner = make_owner()
    owner.is_busy = False

    for steps in (1, 2):
        owner.thread.ensure()
        wait_until(lambda: not runs(owner.name))
        assert owner.steps == steps


def test_a_thread_without_work_ends_after_its_time(
    make_owner: t.Callable[..., Owner],
) -> None:
    owner = make_owner(idle=60.0)
    owner.is_busy = False
    owner.thread.ensure()
    wait_until(lambda: owner.steps > 3)
    assert runs(owner.name)

    owner.thread._idle = lambda: 0.0
    wait_until(lambda: not runs(owner.name))


@pytest.mark.parametrize("every", [0.0, 0.05], ids=["at work", "in a pause"])
def test_a_thread_ends_when_its_owner_is_collected(
    make_owner: t.Callable[..., Owner], every: float
) -> None:
    owners = [make_owner(every=every)]
    owners[0].thread.ensure()
    wait_until(lambda: owners[0].steps > 1)
    name, collected = owners[0].name, weakref.ref(owners[0])
    owners.clear()

    def is_collected() -> bool:
        gc.collect()  # it refers to the thread, whose step refers to it
        return collected() is None

    wait_until(is_collected)
    wait_until(lambda: not runs(name))

"""The order in which images are asked for. Time is a number that the tests move on."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

from pipelines.sources.download.hosts import FIRST_LIMIT, SUSPECT_AFTER, HostQueue, Request
from pipelines.sources.download.settings import DownloadSettings


def make_queue(hosts: list[int], seed: int = 0, **settings: float) -> HostQueue:
    chosen = DownloadSettings.model_validate(settings)
    return HostQueue(np.array(hosts, dtype=np.int32), chosen, Random(seed))


def take_all(queue: HostQueue, now: float, most: int = 1000) -> list[Request]:
    requests: list[Request] = []
    while len(requests) < most and (request := queue.take(now)):
        requests.append(request)
    return requests


def answer(queue: HostQueue, request: Request, now: float) -> None:
    queue.note_answer(request, now)
    queue.release(request, now)
    queue.finish()


def stay_silent(queue: HostQueue, request: Request, now: float) -> None:
    request.tries += 1
    queue.note_trouble(request, "silent", now)
    queue.release(request, now)
    queue.put_off(request, 1.0, now)


@dataclass
class Played:
    """What came of a download that was only played."""

    seconds: float = 0.0
    silences: int = 0
    most_silent: int = 0  # at one time
    last_answer: float = 0.0


def simulate(
    queue: HostQueue, is_silent: Callable[[Request], bool], connections: int, tries: int = 4
) -> Played:
    """Play a download: an answer takes 0.02 s, silence ends after 1 s, four tries an image."""
    played, running, number = Played(), list[tuple[float, int, Request]](), 0
    while queue.left:
        while len(running) < connections and (request := queue.take(played.seconds)):
            number += 1
            ends = played.seconds + (1.0 if is_silent(request) else 0.02)
            heapq.heappush(running, (ends, number, request))
        silent = sum(is_silent(request) for _, _, request in running)
        played.most_silent = max(played.most_silent, silent)
        due = queue.next_due() if len(running) < connections else None
        if due is not None and (not running or due < running[0][0]):
            played.seconds = max(played.seconds, due)
            continue
        played.seconds, _, request = heapq.heappop(running)
        if not is_silent(request):
            played.last_answer = played.seconds
            answer(queue, request, played.seconds)
        elif request.tries < tries - 1:
            played.silences += 1
            stay_silent(queue, request, played.seconds)
        else:
            queue.note_trouble(request, "silent", played.seconds)
            queue.release(request, played.seconds)
            queue.finish()
    return played


def test_every_image_is_asked_for_once() -> None:
    queue = make_queue([0] * 40 + [1] * 3 + [2] * 17)
    rows = []
    while queue.left:
        for request in take_all(queue, 0.0):
            rows.append(request.row)
            answer(queue, request, 0.0)
    assert sorted(rows) == list(range(60))
    assert rows != list(range(60))  # a sorted table would make a bad album look like a bad host


def test_nothing_to_fetch_is_done_at_once() -> None:
    queue = make_queue([])
    assert (queue.left, queue.take(0.0), queue.next_due()) == (0, None, None)


def test_a_host_gets_more_with_each_answer_up_to_its_limit() -> None:
    queue = make_queue([0] * 100, per_host=5)
    requests = take_all(queue, 0.0)
    most = [len(requests)]
    for _ in range(10):
        answer(queue, requests.pop(), 0.0)
        requests += take_all(queue, 0.0)
        most.append(len(requests))
    assert most[:4] == [FIRST_LIMIT, 2, 3, 4]
    assert max(most) == 5


def test_hosts_take_turns_in_a_table_sorted_by_host() -> None:
    queue = make_queue([0] * 1000 + [1] * 3 + [2] * 3, connections=12)
    assert sorted(request.host for request in take_all(queue, 0.0)) == [0, 1, 2]


def test_hosts_that_do_not_answer_take_half_of_the_connections_at_most() -> None:
    hosts = [*np.repeat(np.arange(40), 10), *[40] * 500]
    queue = make_queue(hosts, connections=20, per_host=8)
    played = simulate(queue, lambda request: request.host < 40, connections=20)
    assert played.most_silent == 10
    assert played.last_answer < 6.0  # 4 s to get to it, 500 images by 8 at a time


def test_a_silent_host_gets_one_request_at_a_time_and_pauses() -> None:
    queue = make_queue([0] * 100, per_host=8, base_delay=1.0)
    for _ in range(3):
        for request in take_all(queue, 0.0, 1):
            answer(queue, request, 0.0)
    requests = take_all(queue, 1.0)
    assert len(requests) == 4
    for request in requests[:SUSPECT_AFTER]:
        stay_silent(queue, request, 2.0)
    assert queue.take(2.0) is None
    assert queue.next_due() is not None
    answer(queue, requests[-1], 2.0)  # the late answer of one of them proves that it lives
    assert len(take_all(queue, 100.0)) == 2


@pytest.mark.parametrize("seed", range(10))
def test_images_that_never_come_do_not_make_a_good_host_look_bad(seed: int) -> None:
    queue = make_queue([0] * 200, seed, per_host=8, host_failures=6)
    played = simulate(queue, lambda request: request.row % 5 == 0, connections=20)
    assert queue.given_up == {}
    assert played.seconds < 60.0


def test_a_host_that_never_answers_is_given_up_and_its_images_are_counted() -> None:
    queue = make_queue([0] * 50 + [1] * 5, host_failures=10)
    played = simulate(queue, lambda request: request.host == 0, connections=20)
    assert (queue.abandoned, list(queue.given_up.values())) == (50, ["silent"])
    assert played.silences == 10  # of as many images: none has used up its tries


def test_a_host_that_says_slow_down_is_left_alone_for_all_its_images() -> None:
    queue = make_queue([0] * 50 + [1] * 50, per_host=8)
    for _ in range(10):
        for request in take_all(queue, 0.0, 2):
            answer(queue, request, 0.0)
    requests = take_all(queue, 0.0)
    limited = next(request for request in requests if request.host == 0)
    queue.note_limit(limited, 5.0, 0.0)
    queue.release(limited, 0.0)
    queue.put_off(limited, 5.0, 0.0)
    for request in requests:
        if request is not limited:
            queue.release(request, 0.0)
    assert {request.host for request in take_all(queue, 4.9)} == {1}
    assert sum(request.host == 0 for request in take_all(queue, 5.1)) == 4  # half as many as before


def test_an_image_that_was_put_off_comes_back_when_it_is_due() -> None:
    queue = make_queue([0])
    request = queue.take(0.0)
    assert request is not None
    queue.note_answer(request, 0.0)
    queue.release(request, 0.0)
    queue.put_off(request, 3.0, 0.0)
    assert (queue.take(2.9), queue.next_due(), queue.left) == (None, 3.0, 1)
    assert queue.take(3.0) is request


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_image_ends_and_no_limit_is_broken(seed: int) -> None:
    rng = Random(seed)
    hosts = [rng.randrange(6) for _ in range(300)]
    queue = make_queue(hosts, connections=10, per_host=3, host_failures=20)
    running: list[Request] = []
    now, ended = 0.0, 0
    while queue.left:
        while len(running) < 10 and (request := queue.take(now)):
            running.append(request)
        assert max(np.bincount([request.host for request in running], minlength=6)) <= 3
        if not running:
            due = queue.next_due()
            assert due is not None
            now = max(now, due)
            continue
        now += rng.random()
        request = running.pop(rng.randrange(len(running)))
        event = rng.random()
        if request.tries == 3:
            queue.release(request, now)
            queue.finish()
            ended += 1
        elif request.host == 0 or event < 0.2:
            stay_silent(queue, request, now)
        elif event < 0.3:
            queue.note_limit(request, rng.random() * 5, now)
            queue.release(request, now)
            queue.put_off(request, 2.0, now)
            request.tries += 1
        else:
            answer(queue, request, now)
            ended += 1
    assert ended + queue.abandoned == 300
    assert all(request.host in queue.given_up for request in running)

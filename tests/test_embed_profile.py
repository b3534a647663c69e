"""A profile adds up what each part took, in all processes, and says so in a table."""

import multiprocessing
import time

from embed.profile import PARTS, Profile


def work(profile: Profile) -> None:
    with profile.timed("decode"):
        time.sleep(0.02)


def test_seconds_of_all_processes_add_up() -> None:
    profile = Profile()
    processes = [multiprocessing.Process(target=work, args=(profile,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert profile.seconds()["decode"] >= 0.04
    assert sum(profile.seconds().values()) == profile.seconds()["decode"]


def test_the_table_has_a_line_for_each_part() -> None:
    profile = Profile(synchronize=True)  # on a CPU there is nothing to wait for
    with profile.timed("forward"):
        work(profile)
    lines = profile.table().splitlines()
    assert lines[0].startswith("training took")
    assert {line.split()[0] for line in lines if "%  " in line or line.endswith("%")} >= set(PARTS)

"""The cost of a block: its own time, the memory that it holds at its peak, and numbers even if it fails."""

import time

import pytest

from biasunlearn.runs.cost import measure_cost


def test_waiting_takes_time_and_no_processor() -> None:
    with measure_cost("cpu") as waiting:
        time.sleep(0.2)
    assert waiting["seconds"] >= 0.2
    assert waiting["processor_seconds"] < 0.1


def test_working_takes_processor_time() -> None:
    with measure_cost("cpu") as working:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    assert 0.1 <= working["processor_seconds"] <= working["seconds"] + 0.05


def test_memory_is_the_peak_and_not_what_is_left_at_the_end() -> None:
    size = 64 * 2**20
    with measure_cost("cpu") as small:
        pass
    with measure_cost("cpu") as large:
        held = bytearray(b"x") * size
        del held
    assert small["memory_of"] in ("block", "process")
    assert large["memory"] >= size
    if small["memory_of"] == "block":  # the count was restarted before each block
        assert large["memory"] - small["memory"] > 0.9 * size


def test_a_block_that_fails_has_a_cost_too() -> None:
    with pytest.raises(ZeroDivisionError), measure_cost("cpu") as failed:
        1 / 0  # noqa: B018
    assert failed.keys() == {"seconds", "processor_seconds", "memory", "memory_of"}

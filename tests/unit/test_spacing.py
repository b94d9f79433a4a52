"""Exchanges of a busy gate keep apart; those of another wait for nothing."""

from itertools import pairwise

import pytest

from headgate.gate.spacing import Spacing


def test_who_asks_now_and_then_waits_for_nothing() -> None:
    spacing = Spacing()
    assert [spacing.wait_s(at_s) for at_s in (100.0, 100.01, 100.5, 103.0, 103.2)] == [0.0] * 5


def test_a_few_go_at_once_and_ten_a_second_for_long() -> None:
    spacing = Spacing()
    now_s, began = 100.0, []
    while now_s < 102.0:
        now_s += spacing.wait_s(now_s)
        began.append(now_s)
        now_s += 0.04  # until it is answered
    gaps = [one - before for before, one in pairwise(began)]
    assert gaps[:4] == pytest.approx([0.04] * 4)
    assert gaps[8:] == pytest.approx([0.1] * len(gaps[8:]))
    assert len(gaps) > 20


def test_after_a_rest_a_few_may_go_at_once_again() -> None:
    spacing = Spacing()
    for _ in range(20):
        spacing.wait_s(100.0)
    assert [spacing.wait_s(110.0 + n / 100) for n in range(5)] == [0.0] * 5
    assert spacing.wait_s(110.05) > 0

"""How soon a job that was refused for now asks again."""

from itertools import pairwise

from headgate.orchestrator.governance import asks_again_in_ms

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def test_it_asks_when_it_is_told_to_and_within_a_minute_at_least() -> None:
    assert asks_again_in_ms("r", 2_000, 0, endless=False) == 2_000
    assert asks_again_in_ms("r", 2_000, HOUR_MS, endless=False) == 2_000
    assert asks_again_in_ms("r", -5, 0, endless=False) == 1
    times = {asks_again_in_ms(str(run), HOUR_MS, 0, endless=False) for run in range(100)}
    assert len(times) > 90, "those who were refused together come back apart"
    assert all(MINUTE_MS * 3 / 4 <= again < MINUTE_MS for again in times)


def test_where_nobody_knows_the_end_it_asks_less_often_the_longer_it_has_waited() -> None:
    waits, waited_ms = [], 0
    while waited_ms < 24 * HOUR_MS:
        waits.append(asks_again_in_ms("r", 5_000, waited_ms, endless=True))
        waited_ms += waits[-1]
    assert waits[:4] == [5_000] * 4
    assert all(one <= next_one for one, next_one in pairwise(waits))
    assert MINUTE_MS * 3 / 4 <= waits[-1] < MINUTE_MS
    assert 6 * len(waits) < 51_200 / 4, "a history takes more than four days of it"

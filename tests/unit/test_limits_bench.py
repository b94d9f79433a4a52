"""The comparison of limiters runs, its downstream keeps its word, and the default has earned it."""

import json
from itertools import repeat

import pytest

from bench import limit_scenes
from bench.limit_scenes import play as played_by_all
from bench.limit_scenes import scenes
from bench.limiters import Fixed, Ours
from bench.limits import CALLS, KINDS, OWN, Calls, main, play, table
from bench.limits_page import page
from bench.plays import TRACE
from headgate.simulate.limited import LimitedDownstream, LimitedSimulation, Stretch

LONG = CALLS[1]


def simulated(limit: int, *, room: int, timeout_ms: int = 10_000) -> LimitedSimulation:
    what = LimitedDownstream(
        course=(Stretch(0, 10), Stretch(10_000, 5), Stretch(20_000, 5, 200)),
        room=room,
        refuse_ms=50,
        timeout_ms=timeout_ms,
        until_ms=30_000,
    )
    return LimitedSimulation(what, Fixed(limit), repeat(100), 10_000)


def test_the_downstream_works_on_so_many_calls_at_a_time() -> None:
    run = simulated(10, room=100).run()
    assert run.good == pytest.approx([1_000, 500, 250], abs=12)
    assert run.overloads == [0, 0, 0]
    assert run.peak == [10, 10, 10]
    # Calls in flight = rate x duration.
    assert run.in_flight_ms == [100_000] * 3
    assert run.duration_ms[1] / run.good[1] == pytest.approx(200, rel=0.03)


def test_it_refuses_what_has_no_room_and_callers_give_up() -> None:
    refused = simulated(12, room=0).run()
    assert refused.good == pytest.approx([1_000, 500, 250], abs=12)
    assert refused.overloads[0] == pytest.approx(2 * 10_000 / 50, abs=5)
    given_up = simulated(40, room=100, timeout_ms=350).run()
    assert given_up.good[0] < 100  # what it works on has been given up: work for nothing
    assert given_up.overloads[0] > 900


@pytest.mark.parametrize("calls", CALLS, ids=lambda calls: calls.name)
@pytest.mark.parametrize("kind", KINDS)
def test_the_default_uses_what_there_is_and_no_more(calls: Calls, kind: str) -> None:
    row = play(kind, calls, "ARC (ours)", 7)
    assert min(row.goodput) >= 0.85
    assert max(row.overloads) <= 0.05
    assert row.settled != (None, None)
    # After work that took longer by itself, what is idle is learned anew only by and by.
    assert max(row.slowness) <= (2.5 if kind == "slows" else 2.0)


def test_it_prints_tables_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    row = play("refuses", LONG, "Vegas", 1)
    assert "| Vegas |" in table([row])
    main(["--json", "--only", "Vegas"])
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(CALLS) * len(KINDS)
    assert {each["limiter"] for each in rows} == {"Vegas"}


def test_ours_in_the_bench_is_the_room_itself() -> None:
    limiter = Ours(OWN)
    mark = limiter.began(1, 0)
    limiter.ended(mark, 10, 10, 1, overload=True)
    assert limiter.limit == OWN.initial - 1


def test_the_pictures_show_what_was_played_and_load_nothing() -> None:
    scene = scenes()[1]
    results = played_by_all(scene, 7)
    assert [one.limiter for one in results] == ["Headgate (ARC)", "AIMD", "no limit"]
    ours, aimd, none = results
    assert ours.failed <= 0.01 < aimd.failed < none.failed
    assert ours.goodput > aimd.goodput > none.goodput
    html = page([(scene, results)], 7, ["it is only a test"])
    assert html.count('<svg class="lines"') == html.count('<svg class="failing"') == 3
    assert html.count('<path class="limit" vector') == 2  # who has none shows none
    assert "Half of the capacity is gone at once" in html
    assert "it is only a test" in html
    assert "http" not in html
    assert "<script" not in html


def test_a_scene_has_the_durations_of_the_recording() -> None:
    if not TRACE.exists():
        pytest.skip(f"{TRACE} is absent")
    scene = scenes()[-1]
    assert 26_000 < scene.mean_ms < 27_500
    drawn = [work for _, work in zip(range(20_000), scene.work(1), strict=False)]
    assert sum(drawn) / len(drawn) == pytest.approx(scene.mean_ms, rel=0.03)


def test_without_the_recording_its_scene_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_scenes, "TRACE", TRACE.with_name("absent.csv"))
    assert [scene.title for scene in scenes()][-1] == "Slow recovery"

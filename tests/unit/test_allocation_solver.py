"""The solver against its own definition, and against trying everything."""

import itertools
import random
from fractions import Fraction

import pytest

from headgate.allocation import solver
from headgate.allocation.solver import fill, whole_weights


def exact(
    amount: int, weights: list[int], floors: list[int], ceilings: list[int]
) -> list[Fraction]:
    """The definition: try every stretch between two breakpoints for the level that fits."""
    tops = [u if w else low for w, low, u in zip(weights, floors, ceilings, strict=True)]
    target = Fraction(min(amount, sum(tops)))

    def parts(level: Fraction) -> list[Fraction]:
        return [
            min(max(level * w, Fraction(low)), Fraction(top))
            for w, low, top in zip(weights, floors, tops, strict=True)
        ]

    points = {Fraction(0)}
    for w, low, top in zip(weights, floors, tops, strict=True):
        if w:
            points |= {Fraction(low, w), Fraction(top, w)}
    ordered = sorted(points)
    for low_f, high_f in itertools.pairwise([*ordered, ordered[-1] + 1]):
        under, over = sum(parts(low_f)), sum(parts(high_f))
        if under <= target <= over:
            share = Fraction(0) if under == over else Fraction(target - under) / (over - under)
            return parts(low_f + share * (high_f - low_f))
    raise AssertionError("no level fits")


def problem(chance: random.Random) -> tuple[int, list[int], list[int], list[int]]:
    n = chance.randint(0, 12)
    kind = chance.choice(["small", "ties", "fine", "huge"])
    if kind == "ties":
        weights = [chance.choice([1, 2]) for _ in range(n)]
    elif kind == "small":
        weights = [chance.choice([0, 1, 2, 3, 7]) for _ in range(n)]
    elif kind == "huge":
        weights = [chance.randint(0, 2**70) for _ in range(n)]
    else:
        weights = whole_weights([chance.choice([0.0, chance.uniform(0, 9)]) for _ in range(n)])
    most = chance.choice([0, 3, 20, 10**9])
    floors = [chance.choice([0, chance.randint(0, most)]) for _ in range(n)]
    ceilings = [low + chance.choice([0, chance.randint(0, most)]) for low in floors]
    amount = chance.randint(sum(floors), sum(ceilings) + 5)
    return amount, weights, floors, ceilings


@pytest.mark.parametrize("sample", [1_000, 3])
def test_ten_thousand_random_problems_are_solved_as_defined(
    sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a sample of few, even of few claimants, and guesses that are often wrong.
    monkeypatch.setattr(solver, "_SAMPLE", sample)
    monkeypatch.setattr(solver, "_MARGIN", 0)
    chance = random.Random(7)
    for _ in range(10_000):
        amount, weights, floors, ceilings = problem(chance)
        parts = fill(amount, weights, floors, ceilings)
        if not parts:
            continue
        wanted = exact(amount, weights, floors, ceilings)
        assert sum(parts) == sum(wanted)
        assert all(low <= a <= u for low, a, u in zip(floors, parts, ceilings, strict=True))
        assert all(abs(a - b) < 1 for a, b in zip(parts, wanted, strict=True))
        # Largest fractions first, then the order of the claimants.
        order = sorted(range(len(parts)), key=lambda i: (-(wanted[i] % 1), i))
        up = [i for i in order if parts[i] > wanted[i]]
        assert up == [i for i in order if wanted[i] % 1][: len(up)]


def test_no_other_division_into_units_is_fairer() -> None:
    """Brute force: weighted max-min of the exact answer, within a unit, for all small problems."""
    chance = random.Random(3)
    for _ in range(300):
        n = chance.randint(1, 4)
        ceilings = [chance.randint(0, 5) for _ in range(n)]
        amount = chance.randint(0, 12)
        parts = fill(amount, [1] * n, [0] * n, ceilings)
        every = itertools.product(*(range(u + 1) for u in ceilings))
        total = min(amount, sum(ceilings))
        best = max(sorted(one) for one in every if sum(one) == total)
        assert sorted(parts) == best


@pytest.mark.parametrize(
    ("amount", "weights", "floors", "ceilings", "parts"),
    [
        (10, [], [], [], []),
        (0, [1, 1], [0, 0], [5, 5], [0, 0]),
        (120, [1, 1, 1], [0, 0, 0], [1000, 50, 10], [60, 50, 10]),
        (10, [0, 0], [0, 0], [9, 9], [0, 0]),
        (10, [0, 1], [3, 0], [9, 9], [3, 7]),
        (10, [1, 1, 1], [0, 0, 0], [9, 9, 9], [4, 3, 3]),
        (10, [1, 1], [0, 0], [0, 99], [0, 10]),
        (10, [3, 1], [0, 6], [99, 99], [4, 6]),
    ],
)
def test_edges(
    amount: int, weights: list[int], floors: list[int], ceilings: list[int], parts: list[int]
) -> None:
    assert fill(amount, weights, floors, ceilings) == parts


def test_floors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 6"):
        fill(5, [1, 1], [3, 3], [9, 9])


def test_breakpoints_that_floats_cannot_tell_apart_are_told_apart() -> None:
    weights = [10**17 + 1, 10**17, 10**17 - 1]
    ceilings = [10**9, 10**9, 10**9]
    for amount in (3 * 10**9 - 1, 2 * 10**9, 7):
        wanted = exact(amount, weights, [0] * 3, ceilings)
        parts = fill(amount, weights, [0] * 3, ceilings)
        assert sum(parts) == amount
        assert all(abs(a - b) < 1 for a, b in zip(parts, wanted, strict=True))


def test_weights_keep_their_exact_proportion() -> None:
    weights = [0.1, 3, 2.5, 0, 1e-300, 5e-324, 1e308]
    whole = whole_weights(weights)
    for (a, x), (b, y) in itertools.combinations(zip(weights, whole, strict=True), 2):
        assert Fraction(a) * y == Fraction(b) * x


def test_many_are_divided_as_if_all_breakpoints_were_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(11)
    for _ in range(60):
        n = chance.choice([100, 300, 2_000])
        most = chance.choice([1, 5, 1_000, 10**9])
        heaviest = chance.choice([1, 3, 10, 2**60])
        weights = [chance.randint(chance.choice([0, 1]), heaviest) for _ in range(n)]
        floors = [chance.choice([0, chance.randint(0, most)]) for _ in range(n)]
        ceilings = [low + chance.randint(0, most) for low in floors]
        amount = chance.randint(sum(floors), sum(ceilings))
        with monkeypatch.context() as patched:
            patched.setattr(solver, "_SAMPLE", 10**9)
            wanted = fill(amount, weights, floors, ceilings)
        for size, margin in ((1_000, 2), (30, 1), (30, 0)):
            monkeypatch.setattr(solver, "_SAMPLE", size)
            monkeypatch.setattr(solver, "_MARGIN", margin)
            assert fill(amount, weights, floors, ceilings) == wanted

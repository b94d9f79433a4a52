"""What a change has touched, as people read it in the audit."""

from headgate.view.changed import Difference, differences


def moment(ms: int) -> str:
    return f"at {ms}"


def test_plain_values_are_told_by_their_path_and_only_those_that_differ() -> None:
    before = {"scan": {"max_active": 4, "weight": 1.0}, "paused": None}
    after = {"scan": {"max_active": 8, "weight": 1.0}, "paused": "not paid"}
    assert differences(before, after, moment) == [
        Difference("paused", "-", "not paid"),
        Difference("scan.max_active", "4", "8"),
    ]
    assert differences(None, {"state": "OPEN"}, moment) == [Difference("state", "-", "OPEN")]
    assert differences({"state": "OPEN"}, None, moment) == [Difference("state", "OPEN", "-")]
    assert differences(None, None, moment) == []
    assert differences({"leased": None}, {"leased": False}, moment) == [
        Difference("leased", "-", "false")
    ]


def test_what_an_override_changes_stands_beside_what_it_was() -> None:
    after = {
        "id": "o-1",
        "actor": "ada",
        "reason": "month end",
        "changes": {"max_active": 8, "per_hour": None},
        "begins_at_ms": 5,
        "until_ms": 7,
    }
    assert differences({"max_active": 4, "per_hour": 100}, after, moment) == [
        Difference("begins_at_ms", "-", "at 5"),
        Difference("id", "-", "o-1"),
        Difference("max_active", "4", "8"),
        Difference("per_hour", "100", "-"),
        Difference("until_ms", "-", "at 7"),
    ]

"""How governance workflows keep house in the demo."""

from headgate.model.entity import EntityOptions


def demo_options() -> EntityOptions:
    """Return options that show within seconds what takes minutes elsewhere."""
    return EntityOptions(
        continue_after_events=1_500,
        snapshot_every_ms=1_000,
        counts_every_ms=5_000,
        check_holders_every_ms=5_000,
    )

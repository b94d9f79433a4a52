"""What would have happened: the pure cores run over recorded or invented time.

Nothing here knows a clock, a file or chance: calls and a stream of numbers come in, results go out.
"""

from headgate.simulate.backtest import Backtest, BacktestOf, backtest
from headgate.simulate.calls import Call, Recorded, calls_in_spans, notes_on_record, recorded

__all__ = [
    "Backtest",
    "BacktestOf",
    "Call",
    "Recorded",
    "backtest",
    "calls_in_spans",
    "notes_on_record",
    "recorded",
]

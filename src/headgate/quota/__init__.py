"""The ledger of a tenant: quotas, permits, waiters; pure functions of messages and time."""

from headgate.quota.ledger import Ledger
from headgate.quota.record import LedgerInput, LedgerRecord

__all__ = ["Ledger", "LedgerInput", "LedgerRecord"]

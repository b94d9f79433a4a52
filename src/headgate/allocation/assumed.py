"""What a member claims whose ledger has never spoken: to have what it does not lend to others."""

from headgate.allocation.governor_record import GovernorRecord
from headgate.model.pool import Claim, Share


def assume(record: GovernorRecord) -> None:
    """Have those whose ledgers have never spoken claim what the settings say that they keep.

    Else it would be given to others before the first job of the tenant, and come back only with
    theirs.
    """
    settings = record.settings
    for tenant, member in record.members.items():
        if member.told_at_ms:
            continue
        units = settings.unlent.get(tenant, 0)
        share = Share(weight=0.0, guaranteed=units, lend_limit=0)
        member.claims = dict.fromkeys(settings.capacity, Claim(share=share)) if units else {}

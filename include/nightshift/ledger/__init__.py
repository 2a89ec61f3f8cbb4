"""The append-only record of every promotion and refusal; its head says who is champion."""

from nightshift.ledger.entries import Candidate, Champion, Entry
from nightshift.ledger.ledger import Ledger

__all__ = ["Candidate", "Champion", "Entry", "Ledger"]

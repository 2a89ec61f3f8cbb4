"""The append-only record of promotions, refusals, waivers, rollbacks, holds, retirements; it says who is champion."""

from nightshift.ledger.blessed import Blessed
from nightshift.ledger.entries import Candidate, Champion, Entry, Waiver
from nightshift.ledger.ledger import Ledger
from nightshift.ledger.reigns import Obstacle, Roles

__all__ = ["Blessed", "Candidate", "Champion", "Entry", "Ledger", "Obstacle", "Roles", "Waiver"]

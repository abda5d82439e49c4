"""Journeys on the real processes. A package, so that its modules share one stack."""

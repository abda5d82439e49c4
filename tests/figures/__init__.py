"""The performance table: RelayPACS and its peers on one machine, side by side. `python -m tests.figures`."""

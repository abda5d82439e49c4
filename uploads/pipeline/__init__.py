"""The verbs of the journey, one module per leg, in travel order."""

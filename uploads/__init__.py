"""The journey out: from the clinic's browser to a PACS that has shown it has every instance."""

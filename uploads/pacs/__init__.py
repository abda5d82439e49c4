"""The wire to the PACS: addresses, associations both ways, what is asked over them, and what each answer means."""

"""The wire to the PACS: addresses, associations, C-STORE, C-ECHO and C-FIND, and what each answer means."""

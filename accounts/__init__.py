"""Who may do what: users, roles, clinics, and the doors they come in by."""

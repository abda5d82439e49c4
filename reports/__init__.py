"""The journey back: what the radiologist answers."""

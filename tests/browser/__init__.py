"""The pages in Chromium, in front of a whole running RelayPACS."""

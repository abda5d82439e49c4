"""What a first visitor meets: a study to send, a PACS to send it to, people to log in as."""

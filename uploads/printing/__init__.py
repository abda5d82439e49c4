"""Documents on paper: HTML made into PDF in a fenced child process."""

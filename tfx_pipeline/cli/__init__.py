"""The command line: thin, and it imports nothing heavy before a command runs."""

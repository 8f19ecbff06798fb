"""What surrounds a release: the check before it, the card beside it."""

"""Texts token by token: how the next one is chosen, apart from what scores it."""

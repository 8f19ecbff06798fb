"""Serving: model server, client, index, release layout. Importing this package loads nothing."""

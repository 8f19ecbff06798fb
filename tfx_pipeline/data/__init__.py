"""Click logs, caption sets and image stores: contracts, readers, Examples, demo data."""

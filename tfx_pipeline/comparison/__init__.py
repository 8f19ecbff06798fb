"""Experiments side by side: trained under one budget, measured alike, in one table."""

"""Evaluation metrics on numpy arrays: ranking measures, modality gap, bootstrap intervals."""

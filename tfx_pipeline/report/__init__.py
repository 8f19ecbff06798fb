"""The evaluation report: one HTML file that needs nothing else."""

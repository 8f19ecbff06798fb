"""Trainings that each run in a process of their own: what comparison and tuning are made of."""

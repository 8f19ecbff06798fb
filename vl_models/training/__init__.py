"""The trainer: input pipeline, compiled step, stages and phases, exact resume."""

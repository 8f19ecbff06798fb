"""From serialised Examples to batches: records, draws, rows, images, and the mixer of sources."""

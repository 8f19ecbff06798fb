"""Ways to run the pipeline; the graph is the same in all of them."""

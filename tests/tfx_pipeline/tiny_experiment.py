"""An experiment on the emoji data that trains in a second, as a YAML file."""

from pathlib import Path

TINY = """
name: {name}
data: {{folder: given by --data, shorter_side: 40}}
vocabulary: {{size: 400}}
model:
  system: clip
  image_size: 32
  embedding_dim: 32
  max_length: 16
  image: {{kind: cnn, widths: [8, 16], blocks: [1, 1]}}
  text: {{kind: transformer, width: 32, depth: 1, heads: 2}}
train: {{global_batch_size: {batch}, steps: 40, warmup_steps: 4, learning_rate: 2.0e-3}}
evaluate: {{bootstrap: {{samples: 100}}, report: {{projection: pca}}}}
{more}
"""


def write_tiny(path: Path, *, name: str = "tiny", batch: int = 16, more: str = "") -> Path:
    """Write the experiment; ``more`` is appended as further YAML."""
    path.write_text(TINY.format(name=name, batch=batch, more=more), encoding="utf-8")
    return path

"""Compile an experiment for Kubeflow Pipelines: `vlsearch kubeflow compile` as a script.

python kubeflow/compile.py --config configs/emoji.yaml --output pipeline.yaml
"""

import sys

from tfx_pipeline.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["kubeflow", "compile"]
    main()

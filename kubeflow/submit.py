"""Start a run on Kubeflow Pipelines and follow it: `vlsearch kubeflow submit` as a script.

python kubeflow/submit.py pipeline.yaml --host http://localhost:8080
"""

import sys

from tfx_pipeline.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["kubeflow", "submit"]
    main()

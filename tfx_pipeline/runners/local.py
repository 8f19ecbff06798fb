"""Runs the pipeline in this process, with SQLite metadata unless a server is named: the default."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from tfx_pipeline.components.artifacts import Evaluation, PushedRelease, RejectedRows
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.pipeline import build_components
from tfx_pipeline.runners import steps
from tfx_pipeline.runners.progress import StepReport
from tfx_pipeline.runners.steps import RunResult
from tfx_pipeline.storage.metadata import connect, pipeline_name
from tfx_pipeline.storage.postgresql import open_metadata, open_store
from tfx_pipeline.submission import Submission


def run_local(submission: Submission, progress: Callable[[StepReport], None]) -> RunResult:
    """Run all steps, one after the other; finished steps of earlier runs are reused.

    Args:
        submission: the run.
        progress: called when a step starts and when it ends.

    Returns:
        The outcome; `metrics.json` and `report.html` are also copied to the output folder.

    Raises:
        UserError: the metadata server cannot be used.
    """
    root, url = submission.pipeline_root, submission.config.metadata
    root.mkdir(parents=True, exist_ok=True)
    if url is None:
        connection = metadata.sqlite_metadata_connection_config(str(root / steps.METADATA_FILE))
    else:
        connection = connect(url)
    pipeline = Pipeline(
        pipeline_name=pipeline_name(submission.config.name, root, shared=url is not None),
        pipeline_root=str(root),
        components=list(build_components(submission)),
        enable_cache=True,
        metadata_connection_config=connection,
        beam_pipeline_args=list(submission.beam_args),
    )
    runner = _ReportingRunner(connection, submission.config, progress)
    runner.run(pipeline)
    artifacts = _run_artifacts(open_store(connection), runner.run_id)
    return steps.collect(
        submission,
        evaluation=artifacts[Evaluation.TYPE_NAME].uri
        if Evaluation.TYPE_NAME in artifacts
        else None,
        rejected=artifacts[RejectedRows.TYPE_NAME].uri,
        release=artifacts[PushedRelease.TYPE_NAME],
    )


class _ReportingRunner(LocalDagRunner):
    """TFX's local runner, which tells of its progress in log messages only, telling us."""

    def __init__(
        self,
        connection: metadata_store_pb2.ConnectionConfig,
        config: ExperimentConfig,
        progress: Callable[[StepReport], None],
    ):
        super().__init__()
        self._connection = connection
        self._config = config
        self._progress = progress
        self.run_id = datetime.datetime.now().isoformat()

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: Any = None, **kwargs: Any
    ) -> None:
        """Launch the nodes of a compiled pipeline in their (topological) order."""
        del run_options, kwargs  # partial runs are not offered: finished steps are cached
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self.run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        store = open_store(self._connection)
        total = len(pipeline.nodes)
        for number, node in enumerate(pipeline.nodes, start=1):
            name = node.pipeline_node.node_info.id
            self._progress(StepReport(name, number, total))
            started = time.monotonic()
            execution = launcher.Launcher(
                pipeline_node=node.pipeline_node,
                mlmd_connection=open_metadata(self._connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=None,
            ).launch()
            if name == steps.FIRST_STEP:
                rejected = _run_artifacts(store, self.run_id)[RejectedRows.TYPE_NAME]
                steps.check_splits(self._config, rejected.uri)
            [recorded] = store.get_executions_by_id([execution.execution_id])
            cached = recorded.last_known_state == metadata_store_pb2.Execution.CACHED
            seconds = time.monotonic() - started
            self._progress(StepReport(name, number, total, seconds, cached))


def _run_artifacts(store: metadata_store.MetadataStore, run_id: str) -> dict[str, Any]:
    """The artifacts of a run so far by the name of their type; the pipeline has one of each."""
    run = store.get_context_by_type_and_name(constants.PIPELINE_RUN_CONTEXT_TYPE_NAME, run_id)
    return {artifact.type: artifact for artifact in store.get_artifacts_by_context(run.id)}

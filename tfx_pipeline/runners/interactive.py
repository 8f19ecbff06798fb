"""Runs the pipeline's components one by one in a notebook, with their results at hand."""

from __future__ import annotations

import builtins
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vl_models.errors import UserError
from vl_models.terminal import visible

if TYPE_CHECKING:
    from tfx.dsl.components.base.base_node import BaseNode
    from tfx.types import Artifact

    from tfx_pipeline.runners.progress import StepReport
    from tfx_pipeline.runners.steps import RunResult

INTERACTIVE_DIR = "interactive"
_EVALUATOR = "RetrievalEvaluator"


def quiet_notebook(log_file: Path) -> None:
    """Keep out of a notebook's cells what libraries say; it goes to a file.

    Args:
        log_file: of this process from now on; its folder is made.
    """
    from tfx_pipeline.cli.logs import log_to_file

    log_to_file(log_file)
    from apache_beam.runners.interactive import interactive_environment
    from IPython.utils.capture import capture_output

    # Where Beam finds a notebook it displays, once, a script that loads others from the internet.
    with capture_output(stdout=False, stderr=False):
        interactive_environment.current_env()


class InteractiveRun:
    """One run of the pipeline in TFX's `InteractiveContext`, step by step.

    The components are those of `tfx_pipeline.pipeline`, unchanged. Artifacts and metadata are kept
    in `interactive/` of the output folder; what the last step releases goes to `serving/` there, as
    with `vlsearch run`. Steps that finished before with the same inputs are taken from the cache,
    so a notebook that is run again goes on where it was.

    Input files, settings and code are looked at here, once: after changing any of them, make a new
    `InteractiveRun` (and after changing code, restart the kernel).

    Args:
        config: experiment, a YAML file.
        overrides: ``key.sub=value``, as with `--set`.
        data: data folder instead of the one that the file names.
        output: output folder instead of the one that the file names.
        smoke: shrink the training to seconds, as `--smoke` does.
        index_only: as `--index-only` and `--train` do; None decides as `vlsearch run` does.

    Attributes:
        config: the experiment.
        submission: the experiment with its inputs, version and baseline settled.
        context: TFX's `InteractiveContext`.

    Raises:
        UserError: this is no notebook, or the experiment or its data are wrong.
    """

    def __init__(
        self,
        config: str | Path,
        overrides: Sequence[str] = (),
        *,
        data: str | Path | None = None,
        output: str | Path | None = None,
        smoke: bool = False,
        index_only: bool | None = None,
    ):
        if not getattr(builtins, "__IPYTHON__", False):
            # TFX's context would do nothing here, and say so in a log message alone.
            raise UserError(
                "InteractiveRun works in a notebook or in IPython, and this is neither. Use "
                "`vlsearch run` from a terminal, or tfx_pipeline.runners.local from a program."
            )
        from serving.loopback import bypass_proxies
        from tfx_pipeline.cli.logs import hide_native_messages

        hide_native_messages()
        bypass_proxies()
        from tfx_pipeline.runners.experiment import load_experiment

        self.config = load_experiment(config, overrides, data=data, output=output, smoke=smoke)
        root = Path(self.config.output, INTERACTIVE_DIR).resolve()
        quiet_notebook(root / "run.log")

        from tfx.orchestration import metadata
        from tfx.orchestration.experimental.interactive.interactive_context import (
            InteractiveContext,
        )

        from tfx_pipeline.pipeline import build_components
        from tfx_pipeline.runners import steps
        from tfx_pipeline.storage.metadata import pipeline_name
        from tfx_pipeline.submission import submit
        from vl_models.training.strategy import make_strategy

        make_strategy(self.config.devices)  # devices are divided before TensorFlow runs anything
        self.submission = submit(self.config, index_only=index_only)
        self._components: dict[str, BaseNode] = {
            component.id: component for component in build_components(self.submission)
        }
        self._finished: set[str] = set()
        self._result: RunResult | None = None
        database = str(root / steps.METADATA_FILE)
        # A folder of its own: numbers of executions, and so folders of artifacts, start at 1 in
        # every database, and the local runner's metadata has another form.
        self.context = InteractiveContext(
            pipeline_name=pipeline_name(self.config.name, root, shared=False),
            pipeline_root=str(root),
            metadata_connection_config=metadata.sqlite_metadata_connection_config(database),
            beam_pipeline_args=list(self.submission.beam_args),
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of all steps, in the order in which they run."""
        return tuple(self._components)

    def run(self, step: str) -> None:
        """Run one step, or take its result from the cache, and print a line about it.

        Raises:
            UserError: no such step, or one whose inputs are not there yet.
        """
        from tfx_pipeline.runners import steps
        from tfx_pipeline.runners.progress import StepReport

        component = self._component(step)
        missing = [name for name in self._needed_by(component) if name not in self._finished]
        if missing:
            raise UserError(
                f"{step} needs what other steps make. Run {', '.join(missing)} first, or "
                f"everything that is missing up to here by run_until({step!r})."
            )
        self._finished.discard(step)
        report = StepReport(step, self.steps.index(step) + 1, len(self.steps))
        print(report.place, end=" ", flush=True)
        try:
            report = self._launch(component, report)
            if step == steps.FIRST_STEP:
                [rejected] = component.outputs["rejected"].get()
                steps.check_splits(self.config, rejected.uri)
        except BaseException as error:  # among others Interrupted, after a checkpoint
            print("failed" if isinstance(error, Exception) else "stopped")
            raise
        print(report.outcome)
        self._finished.add(step)
        if not report.cached:
            self._forget_what_builds_on(step)
        if step == self.steps[-1]:
            self._result = steps.collect(
                self.submission,
                evaluation=self.artifact(_EVALUATOR, "evaluation").uri
                if _EVALUATOR in self._components
                else None,
                rejected=self.artifact(steps.FIRST_STEP, "rejected").uri,
                release=self.artifact(step, "release").mlmd_artifact,
            )

    def run_until(self, step: str) -> None:
        """Run the steps up to this one, itself included, that have not run in this session.

        Raises:
            UserError: no such step.
        """
        self._component(step)
        for name in self.steps[: self.steps.index(step) + 1]:
            if name not in self._finished:
                self.run(name)

    def run_all(self) -> RunResult:
        """Run what has not run in this session, to the release; returns how it ended."""
        self.run_until(self.steps[-1])
        return self.result

    @property
    def result(self) -> RunResult:
        """How the run ended: the released version, or why there is none; metrics and report.

        Raises:
            UserError: the last step has not run yet.
        """
        if self._result is None:
            raise UserError(f"The run has not ended: {self.steps[-1]} has not run. Use run_all().")
        return self._result

    def artifact(self, step: str, output: str) -> Artifact:
        """Return what a step made; its files are in the folder that the attribute ``uri`` names.

        Args:
            step: a step that has run, such as "ClickExampleGen".
            output: one of its outputs, such as "rejected".

        Raises:
            UserError: no such step or output, or the step has not run.
        """
        component = self._component(step)
        if output not in component.outputs:
            raise UserError(
                f"{step} has no output {output!r}; it has {', '.join(sorted(component.outputs))}."
            )
        if step not in self._finished:
            raise UserError(f"{step} has not run yet. Run it first: run_until({step!r}).")
        [artifact] = component.outputs[output].get()
        return artifact

    def show(self, step: str, output: str) -> None:
        """Display an artifact as TFX does, for those that it knows: statistics, schema, anomalies.

        TensorFlow Data Validation's view of statistics loads a script from the internet.

        Raises:
            UserError: as `artifact`.
        """
        self.artifact(step, output)
        self.context.show(self._components[step].outputs[output])

    def __repr__(self) -> str:
        states = ("done" if name in self._finished else "–" for name in self.steps)
        lines = [f"  {name:<20} {state}" for name, state in zip(self.steps, states)]
        title = f"InteractiveRun of {self.config.name}, {self.config.output}"
        return "\n".join([visible(title), *lines])

    def _component(self, step: str) -> BaseNode:
        if step not in self._components:
            raise UserError(
                f"There is no step {step!r}. The steps of this run are {', '.join(self.steps)}."
            )
        return self._components[step]

    def _needed_by(self, component: BaseNode) -> list[str]:
        """Steps that make the inputs of a component, in the order in which they run."""
        from tfx.types.channel_utils import get_individual_channels

        makers = {
            channel.producer_component_id
            for given in component.inputs.values()
            for channel in get_individual_channels(given)
        }
        return [name for name in self.steps if name in makers]

    def _forget_what_builds_on(self, step: str) -> None:
        """Take steps out of the finished ones whose inputs are others now."""
        for name in self.steps[self.steps.index(step) + 1 :]:
            makers = self._needed_by(self._components[name])
            if step in makers or not self._finished.issuperset(makers):
                self._finished.discard(name)

    def _launch(self, component: BaseNode, report: StepReport) -> StepReport:
        """Run a component in the context; the report says how that went."""
        from ml_metadata import metadata_store
        from ml_metadata.proto import metadata_store_pb2

        started = time.monotonic()
        execution = self.context.run(component)
        store = metadata_store.MetadataStore(self.context.metadata_connection_config)
        [recorded] = store.get_executions_by_id([execution.execution_id])
        cached = recorded.last_known_state == metadata_store_pb2.Execution.CACHED
        return dataclasses.replace(report, seconds=time.monotonic() - started, cached=cached)

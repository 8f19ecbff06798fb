"""The training loop: stages, phases, steps; checkpoints, hooks, logs and signals around them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.models.base import Batch, VisionLanguageModel
from vl_models.training.checkpoint import (
    Checkpoint,
    assign_values,
    by_path,
    checkpoint_folders,
    latest_checkpoint,
    save_checkpoint,
    variable_values,
)
from vl_models.training.config import TrainConfig
from vl_models.training.input import Feed, Source
from vl_models.training.logging import RunLog, check_finite
from vl_models.training.mixer import Mixer
from vl_models.training.optimizers import Group, build_groups
from vl_models.training.phases import StagePlan, plan_stages
from vl_models.training.schedules import learning_rate_factor
from vl_models.training.signals import StopRequest
from vl_models.training.step import Accumulators, Steps, compile_steps
from vl_models.training.warm_start import warm_start

# Called with (step, model); what it returns is logged under the hook's name.
Hook = Callable[[int, VisionLanguageModel], Mapping[str, float]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: ``interrupted`` names the signal, None if all steps were made."""

    step: int
    history_path: Path
    interrupted: str | None


class Trainer:
    """Trains one model in one run folder, and continues there if it was stopped.

    Args:
      model_fn: makes the unbuilt model; called, and the model built, under the strategy's
        scope.
      config: how to train.
      run_dir: gets ``checkpoints/``, ``history.jsonl`` and ``tensorboard/``; with several
        workers they must share it, and only the chief writes.
      strategy: see `make_strategy`.
      sources: data, in a fixed order.
      hooks: by the names that ``config.hooks`` uses; every worker calls them.

    Raises:
      UserError: the configuration does not fit the model, the data or the devices.
    """

    def __init__(
        self,
        model_fn: Callable[[], VisionLanguageModel],
        config: TrainConfig,
        run_dir: Path,
        strategy: tf.distribute.Strategy,
        sources: Sequence[Source],
        hooks: Mapping[str, Hook] | None = None,
    ) -> None:
        self.config = config
        self.run_dir = Path(run_dir)
        self.strategy = strategy
        self.batch_size = config.global_batch(strategy.num_replicas_in_sync)
        self._worker, self._workers = _worker(strategy)
        self._hooks = _scheduled_hooks(config, hooks or {})
        self._mixer = Mixer(
            sources,
            Feed(
                batch_size=self.batch_size,
                texts_per_image=config.texts_per_image,
                seed=config.seed,
                shuffle_buffer=config.shuffle_buffer,
                worker=self._worker,
                workers=self._workers,
            ),
        )
        stages = config.resolved_stages()
        for stage in stages:
            for phase in stage.phases:
                self._mixer.check_names(phase.sources)
        self.plans = plan_stages(stages, self._updates_per_epoch)
        self.total_steps = self.plans[-1].first_step + self.plans[-1].steps
        # Initial weights come from the run's seed, whatever the process did before.
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.model = model_fn()
            self.model.build()
            self._variables = by_path(self.model.variables)
            self._groups = self._build_groups()
            trainable = self.model.trainable_variables
            accumulates = config.accumulation_steps > 1
            self._accumulators = Accumulators(trainable) if accumulates else None
        self._slots = {
            f"{group.name}/{variable.path}": variable
            for group in {g.name: g for groups in self._groups.values() for g in groups}.values()
            for variable in group.optimizer.variables
        }
        self._compiled: dict[tuple[str, str], Steps] = {}
        self._learning_rates: dict[str, float] = {}
        self.step = 0

    def fit(self, resume: bool = True) -> TrainResult:
        """Train to the last step, from the newest whole checkpoint in the run folder.

        Args:
          resume: False refuses a run folder that has checkpoints.

        Returns:
          How the run ended. After SIGTERM or SIGINT the current step is finished and
          checkpointed first; calling `fit` on the same run folder again continues exactly.

        Raises:
          TrainingDiverged: a loss or the gradient norm is not finite.
          UserError: data or checkpoints that cannot be used.
        """
        self._restore(resume)
        log = RunLog(self.run_dir, self.step, self.total_steps, enabled=self._worker == 0)
        with StopRequest() as stop, log:
            interrupted = self._run(stop, log)
        return TrainResult(self.step, log.path, interrupted)

    def _run(self, stop: StopRequest, log: RunLog) -> str | None:
        """Make the remaining steps; the name of the signal that ended it early, or None."""
        pending = _Pending(self.step)
        for plan in self.plans:
            end = plan.first_step + plan.steps
            if self.step == plan.first_step and self.step < end and plan.config.warm_start:
                loaded = warm_start(self._variables, plan.config.warm_start)
                logger.info(
                    "stage %s: %d variables from %s",
                    plan.config.name,
                    len(loaded),
                    plan.config.warm_start.source,
                )
            while self.step < end:
                results = self._make_step(plan, stop, pending)
                log.advance(self.step)
                stopped = self._stopped(stop, results)
                last = stopped is not None or self.step == self.total_steps
                self._report(plan, log, pending, last)
                if stopped is not None and self.step < self.total_steps:
                    logger.info("%s: checkpoint at step %d, then end", stopped, self.step)
                    return stopped
        return None

    def _make_step(self, plan: StagePlan, stop: StopRequest, pending: _Pending) -> dict[str, Any]:
        """One optimiser update: all forward passes, on batches of one source."""
        phase = plan.config.phases[plan.phase_at(self.step)]
        steps = self._steps(plan, phase.name)
        groups = self._groups[(plan.config.name, phase.name)]
        self._set_learning_rates(groups, plan)
        passes = []
        for index in range(self.config.accumulation_steps):
            waited = time.perf_counter()
            batch = self._mixer.batch(self.step, phase.sources)
            pending.waited += time.perf_counter() - waited
            distributed = self._distribute(batch)
            if index + 1 < self.config.accumulation_steps:
                passes.append(steps.accumulate(distributed))
            else:
                flag = tf.constant(0.0 if stop.requested is None else 1.0)
                passes.append(steps.update(distributed, flag))
        self.step += 1
        pending.add(self.step, phase.name, passes)
        return passes[-1]

    def _report(self, plan: StagePlan, log: RunLog, pending: _Pending, last: bool) -> None:
        """Check, log, checkpoint and run hooks, each when it is due."""
        logs = self.step % self.config.log_every == 0
        saves = last or self.step % self.config.checkpoint_every == 0
        due = [name for name, every, _ in self._hooks if self.step % every == 0]
        if not (logs or saves or due):
            return
        # Reading results waits for the device, so it is done only here.
        values, timing, phase = pending.drain(self.batch_size * self.config.accumulation_steps)
        if logs:
            rates = {
                f"learning_rate/{group.name}": self._learning_rates[group.name]
                for group in self._groups[(plan.config.name, phase)]
            }
            place = {"stage": plan.config.name, "phase": phase}
            log.write(self.step, place, {**values, **rates, **timing})
        for name, every, hook in self._hooks:
            if self.step % every == 0:
                log.write_hook(self.step, name, hook(self.step, self.model))
        if saves:
            self._save()
        pending.restart_clock()

    def _stopped(self, stop: StopRequest, results: Mapping[str, Any]) -> str | None:
        """The signal to stop for. Workers agree, since each may be told at another step."""
        if self._workers == 1:
            return stop.requested
        return (stop.requested or "stop of another worker") if float(results["stop"]) > 0 else None

    def _steps(self, plan: StagePlan, phase_name: str) -> Steps:
        """The phase's compiled step, compiled at its first use."""
        key = (plan.config.name, phase_name)
        if key not in self._compiled:
            phase = next(phase for phase in plan.config.phases if phase.name == phase_name)
            self._compiled[key] = compile_steps(
                self.model,
                self.strategy,
                phase,
                self._groups[key],
                self.config.accumulation_steps,
                self.config.clip_norm,
                self._accumulators,
            )
        return self._compiled[key]

    def _build_groups(self) -> dict[tuple[str, str], list[Group]]:
        """Optimisers of every phase: its own, or the shared ones, which are built once."""
        variables = self.model.trainable_variables
        schedule = self.config.default_schedule()
        shared: list[Group] | None = None
        groups = {}
        for plan in self.plans:
            for phase in plan.config.phases:
                key = (plan.config.name, phase.name)
                if phase.optimizers:
                    prefix = f"{plan.config.name}/{phase.name}/"
                    groups[key] = build_groups(prefix, phase.optimizers, variables, schedule)
                else:
                    if shared is None:
                        configs = self.config.resolved_optimizers()
                        shared = build_groups("", configs, variables, schedule)
                    groups[key] = shared
        return groups

    def _set_learning_rates(self, groups: Sequence[Group], plan: StagePlan) -> None:
        for group in groups:
            factor = learning_rate_factor(group.schedule, self.step - plan.first_step, plan.steps)
            rate = group.config.learning_rate * factor
            if self._learning_rates.get(group.name) != rate:
                group.optimizer.learning_rate = rate
                self._learning_rates[group.name] = rate

    def _distribute(self, batch: Batch) -> Any:
        """Give each local replica its contiguous slice of this worker's part of the batch."""
        replicas = self.strategy.num_replicas_in_sync // self._workers
        if replicas == 1:
            return batch
        slices = {key: tf.split(tensor, replicas) for key, tensor in batch.items()}
        first = self._worker * replicas

        def slice_of(context: tf.distribute.ValueContext) -> Batch:
            index = context.replica_id_in_sync_group - first
            return {key: pieces[index] for key, pieces in slices.items()}

        return self.strategy.experimental_distribute_values_from_function(slice_of)

    def _updates_per_epoch(self, names: Sequence[str]) -> int:
        return self._mixer.steps_per_epoch(names) // self.config.accumulation_steps

    def _save(self) -> None:
        if self._worker != 0:
            return
        state = {"inputs": {name: list(p) for name, p in self._mixer.positions.items()}}
        state["config"] = json.loads(self.config.model_dump_json(by_alias=True))
        checkpoint = Checkpoint(
            self.step, variable_values(self._variables), variable_values(self._slots), state
        )
        save_checkpoint(self.run_dir / "checkpoints", checkpoint, self.config.keep)

    def _restore(self, resume: bool) -> None:
        folder = self.run_dir / "checkpoints"
        if not resume:
            if checkpoint_folders(folder):
                raise UserError(f"{self.run_dir} already holds a run; resume it, or use another.")
            return
        checkpoint = latest_checkpoint(folder)
        if checkpoint is None:
            return
        where = f"The checkpoint of step {checkpoint.step} in {self.run_dir}"
        self._check_order(checkpoint.state["config"], where)
        assign_values(self._variables, checkpoint.weights, where)
        assign_values(self._slots, checkpoint.optimizer, where)
        self._mixer.restore(checkpoint.state["inputs"])
        self._learning_rates.clear()
        self.step = checkpoint.step
        logger.info("resumed from step %d of %d", self.step, self.total_steps)

    def _check_order(self, before: Mapping[str, Any], where: str) -> None:
        """Refuse settings under which the input could not continue where it stopped."""
        for key in ("seed", "shuffle_buffer", "texts_per_image"):
            if before[key] != getattr(self.config, key):
                raise UserError(
                    f"{where} was made with {key}={before[key]}, so training cannot continue "
                    f"exactly. Received: {key}={getattr(self.config, key)}."
                )


class _Pending:
    """Results of steps since the last report, not yet read from the device."""

    def __init__(self, step: int) -> None:
        self.waited = 0.0
        self._last_step = step
        self._steps: list[tuple[int, str, list[dict[str, Any]]]] = []
        self._clock = time.perf_counter()
        self._timed = 0

    def add(self, step: int, phase: str, passes: list[dict[str, Any]]) -> None:
        self._steps.append((step, phase, passes))

    def restart_clock(self) -> None:
        """Start timing again: checkpoints and hooks are not part of a step."""
        self._clock = time.perf_counter()
        self.waited = 0.0

    def drain(self, samples: int) -> tuple[dict[str, float], dict[str, float], str]:
        """Check every step since the last report; values of the newest, times per step."""
        values: dict[str, float] = {}
        for step, _, passes in self._steps:
            values = _mean_of_passes(passes)
            check_finite(step, values)
        elapsed = time.perf_counter() - self._clock
        count = len(self._steps)
        timing = {
            "data_seconds": self.waited / count,
            "step_seconds": elapsed / count,
            "samples_per_second": samples * count / elapsed,
            "input_wait_share": self.waited / elapsed,
        }
        phase = self._steps[-1][1]
        self._steps.clear()
        return values, timing, phase


def _mean_of_passes(passes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Losses averaged over a step's forward passes; the rest is the last pass's."""
    values = {key: float(np.asarray(value)) for key, value in passes[-1].items() if key != "stop"}
    for key in values:
        if key.startswith("loss/"):
            values[key] = float(np.mean([np.asarray(one[key]) for one in passes]))
    return values


def _worker(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Index of this worker and number of workers."""
    resolver = strategy.cluster_resolver
    if resolver is None or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    cluster = resolver.cluster_spec()
    order = [
        (role, i)
        for role in ("chief", "worker")
        if role in cluster.jobs
        for i in range(cluster.num_tasks(role))
    ]
    return order.index((resolver.task_type, resolver.task_id)), len(order)


def _scheduled_hooks(config: TrainConfig, hooks: Mapping[str, Hook]) -> list[tuple[str, int, Hook]]:
    scheduled = []
    for entry in config.hooks:
        if entry.name not in hooks:
            raise UserError(
                f"No hook is called '{entry.name}'. Hooks: {', '.join(sorted(hooks)) or 'none'}."
            )
        scheduled.append((entry.name, entry.every, hooks[entry.name]))
    return scheduled

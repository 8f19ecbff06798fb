"""The training loop: stages, phases, steps; checkpoints, hooks, logs and signals around them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from vl_models.batch import Batch
from vl_models.errors import UserError
from vl_models.input.config import Sampling
from vl_models.input.mixer import Mixer
from vl_models.input.source import Feed, Source
from vl_models.models.base import VisionLanguageModel
from vl_models.training.best import BestWeights
from vl_models.training.checkpoint import by_path
from vl_models.training.config import TrainConfig
from vl_models.training.determinism import op_determinism
from vl_models.training.ending import ENDING, REMEDY, Ending
from vl_models.training.logging import RunLog
from vl_models.training.measurements import Measurements
from vl_models.training.optimizers import Group, build_groups
from vl_models.training.phases import StagePlan, plan_stages
from vl_models.training.run_state import RunState
from vl_models.training.schedules import learning_rate_factor
from vl_models.training.selection import check_frozen, check_losses
from vl_models.training.signals import StopRequest
from vl_models.training.step import Accumulators, Steps, check_jit, compile_steps
from vl_models.training.warm_start import warm_start
from vl_models.training.workers import worker_lost, worker_place
from vl_models.weights.released import released_variables

# Called with (step, model); what it returns is logged under the hook's name.
Hook = Callable[[int, VisionLanguageModel], Mapping[str, float]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: updates made.
        history_path: of its history.jsonl.
        interrupted: the signal; None if all steps were made.
        ending: its last losses; None if it was interrupted.
    """

    step: int
    history_path: Path
    interrupted: str | None
    ending: Ending | None = None


class Trainer:
    """Trains one model in one run folder, and continues there if it was stopped.

    Args:
        model_fn: makes the unbuilt model; called, and the model built, under the strategy's
            scope.
        config: how to train.
        run_dir: gets ``checkpoints/``, ``history.jsonl``, ``tensorboard/`` and at the end
            ``ending.json``; with several workers they must share it, and only the chief writes.
        strategy: see `make_strategy`.
        sources: data, in a fixed order.
        hooks: by the names that ``config.hooks`` uses; every worker calls them.
        sampling: how a batch is made of several sources, see `Mixer`.

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
        sampling: Sampling = "debiased",
    ) -> None:
        self.config = config
        self.run_dir = Path(run_dir)
        self.strategy = strategy
        self.batch_size = config.global_batch(strategy.num_replicas_in_sync)
        if config.jit_compile:
            check_jit(strategy)
        self._place = worker_place(strategy)
        self._hooks = _scheduled_hooks(config, hooks or {})
        self._mixer = Mixer(
            sources,
            Feed(
                batch_size=self.batch_size,
                texts_per_image=config.texts_per_image,
                seed=config.seed,
                shuffle_buffer=config.shuffle_buffer,
                worker=self._place.index,
                workers=self._place.count,
            ),
            sampling,
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
            for stage in stages:
                for phase in stage.phases:
                    check_losses(phase, self.model.loss_names)
                    check_frozen(phase, self.model.variables)
            self._groups = self._build_groups()
            trainable = self.model.trainable_variables
            accumulates = config.accumulation_steps > 1
            self._accumulators = Accumulators(trainable) if accumulates else None
        slots = {
            f"{group.name}/{variable.path}": variable
            for group in {g.name: g for groups in self._groups.values() for g in groups}.values()
            for variable in group.optimizer.variables
        }
        self._state = RunState(self.run_dir, config, self._variables, slots, self._mixer, strategy)
        self._best = self._make_best()
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
            Interrupted: another worker ended.
            TrainingDiverged: a loss or the gradient norm is not finite.
            UserError: data or checkpoints that cannot be used.
        """
        self.step = self._state.restore(resume)
        if self.step > 0:
            self._learning_rates.clear()
            logger.info("resumed from step %d of %d", self.step, self.total_steps)
        passes = self.total_steps * self.config.accumulation_steps
        with self.strategy.scope():
            self.model.before_training(passes * self.batch_size)
        log = RunLog(self.run_dir, self.step, self.total_steps, enabled=self._place.is_chief)
        if self._place.is_chief and self.step < self.total_steps:
            (self.run_dir / ENDING).unlink(missing_ok=True)  # of fewer steps
        pending = Measurements()
        try:
            with StopRequest() as stop, log, op_determinism(self.config.deterministic):
                interrupted = self._run(stop, log, pending)
        except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
            if self._place.count == 1:
                raise
            raise worker_lost() from error
        if self._best is not None and interrupted is None:
            with self.strategy.scope():
                self._best.restore()
        ending = None if interrupted else self._end(pending)
        return TrainResult(self.step, log.path, interrupted, ending)

    def _end(self, pending: Measurements) -> Ending | None:
        """Write down how the run ended, and warn of a collapse."""
        ending = pending.ending(self.step)
        if ending is None:  # a run that had ended before
            return Ending.read(self.run_dir)
        if self._place.is_chief:
            ending.write(self.run_dir)
            if ending.collapsed:
                logger.warning(
                    "The run ended %s: it learnt to tell nothing apart. %s",
                    ending.describe(),
                    REMEDY,
                )
        return ending

    def _run(self, stop: StopRequest, log: RunLog, pending: Measurements) -> str | None:
        """Make the remaining steps; the name of the signal that ended it early, or None."""
        for plan in self.plans:
            end = plan.first_step + plan.steps
            if self.step < end:
                pending.forget_last()
            if self.step == plan.first_step and self.step < end and plan.config.warm_start:
                released = released_variables(self.model)
                loaded = warm_start(self._variables, plan.config.warm_start, released)
                with self.strategy.scope():
                    self.model.after_warm_start(loaded)
                source = plan.config.warm_start.source
                logger.info("stage %s: %d variables from %s", plan.config.name, len(loaded), source)
            while self.step < end:
                if self._best is not None and self._best.exhausted(self.step):
                    logger.info("no better since long: the training ends at step %d", self.step)
                    self._state.save(self.step)
                    return None
                results = self._make_step(plan, stop, pending)
                log.advance(self.step)
                stopped = self._stopped(stop, results)
                last = stopped is not None or self.step == self.total_steps
                self._report(plan, log, pending, last)
                if stopped is not None and self.step < self.total_steps:
                    logger.info("%s: checkpoint at step %d, then end", stopped, self.step)
                    return stopped
        return None

    def _make_step(
        self, plan: StagePlan, stop: StopRequest, pending: Measurements
    ) -> dict[str, Any]:
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
        if self.step == self.total_steps:
            # Not in every step: it costs a pass, and what workers gather for the losses.
            passes[-1] = {**passes[-1], **steps.collapsed(distributed)}
        pending.add(self.step, phase.name, passes)
        return passes[-1]

    def _report(self, plan: StagePlan, log: RunLog, pending: Measurements, last: bool) -> None:
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
                measured = hook(self.step, self.model)
                log.write_hook(self.step, name, measured)
                if self._best is not None and name == self._best.hook:
                    self._best.offer(self.step, measured)
        if saves:
            self._state.save(self.step)
        pending.restart_clock()

    def _stopped(self, stop: StopRequest, results: Mapping[str, Any]) -> str | None:
        """Return the signal to stop for. Workers agree, since each may be told at another step."""
        if self._place.count == 1:
            return stop.requested
        return (stop.requested or "stop of another worker") if float(results["stop"]) > 0 else None

    def _steps(self, plan: StagePlan, phase_name: str) -> Steps:
        """Return the phase's compiled step, compiled at its first use."""
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
                self.config.jit_compile,
            )
        return self._compiled[key]

    def _make_best(self) -> BestWeights | None:
        config = self.config.keep_best
        if config is None:
            return None
        every = next(hook.every for hook in self.config.hooks if hook.name == config.hook)
        return BestWeights(self.run_dir, config, every, self._variables, self._place.is_chief)

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
        replicas = self.strategy.num_replicas_in_sync // self._place.count
        if replicas == 1:
            return batch
        slices = {key: tf.split(tensor, replicas) for key, tensor in batch.items()}
        first = self._place.index * replicas

        def slice_of(context: tf.distribute.ValueContext) -> Batch:
            index = context.replica_id_in_sync_group - first
            return {key: pieces[index] for key, pieces in slices.items()}

        return self.strategy.experimental_distribute_values_from_function(slice_of)

    def _updates_per_epoch(self, names: Sequence[str]) -> int:
        return self._mixer.steps_per_epoch(names) // self.config.accumulation_steps


def _scheduled_hooks(config: TrainConfig, hooks: Mapping[str, Hook]) -> list[tuple[str, int, Hook]]:
    scheduled = []
    for entry in config.hooks:
        if entry.name not in hooks:
            raise UserError(
                f"No hook is called '{entry.name}'. Hooks: {', '.join(sorted(hooks)) or 'none'}."
            )
        scheduled.append((entry.name, entry.every, hooks[entry.name]))
    return scheduled

import pytest

from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.comparison.budget import Budget, budget_of, with_samples, with_steps
from tfx_pipeline.comparison.run import planned
from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError
from vl_models.training.schedules import learning_rate_factor


@pytest.fixture
def tiny(tmp_path):
    def load(*overrides):
        return ExperimentConfig.load(write_tiny(tmp_path / "tiny.yaml"), overrides)

    return load


def test_samples_are_steps_times_batch_times_accumulation(tiny):
    config = tiny("train.accumulation_steps=3", "train.steps=50")

    assert budget_of(config) == Budget(steps=50, batch=16, accumulation=3, warmup_steps=4)
    assert budget_of(config).samples == 50 * 16 * 3


def test_devices_multiply_a_batch_that_is_given_per_replica(tiny):
    config = tiny("train.global_batch_size=null", "train.batch_size_per_replica=5", "devices=cpu:2")

    assert budget_of(config).batch == 10


@pytest.mark.parametrize(("batch", "accumulation", "steps"), [(16, 1, 40), (8, 1, 80), (8, 4, 20)])
def test_equal_samples_mean_other_steps(tiny, batch, accumulation, steps):
    config = tiny(f"train.global_batch_size={batch}", f"train.accumulation_steps={accumulation}")

    stretched = with_samples(config, 640)

    assert budget_of(stretched).steps == steps
    assert budget_of(stretched).samples == 640


def test_samples_that_no_number_of_steps_yields_are_rounded_to_the_nearest(tiny):
    assert budget_of(with_samples(tiny(), 630)).samples == 39 * 16
    assert budget_of(with_samples(tiny(), 1)).steps == 1


def test_the_schedule_keeps_its_shape(tiny):
    config = tiny("train.steps=100", "train.warmup_steps=10")
    doubled = with_steps(config, 200)

    assert doubled.train.warmup_steps == 20
    short, long = config.train.default_schedule(), doubled.train.default_schedule()
    for step in (10, 55, 99):
        expected = learning_rate_factor(short, step, 100)
        assert learning_rate_factor(long, 2 * step, 200) == pytest.approx(expected)


def test_a_warm_up_never_vanishes_and_never_appears(tiny):
    assert with_steps(tiny("train.warmup_steps=1"), 4).train.warmup_steps == 1
    assert with_steps(tiny("train.warmup_steps=0"), 400).train.warmup_steps == 0


@pytest.mark.parametrize(
    ("own", "steps", "warmup"),
    [
        (50, 100, 30),  # in proportion 3: too few to reach the learning rate in
        (50, 1000, 33),
        (50, 600, 30),
        (20, 100, 20),  # never longer than it was
        (50, 40, 12),  # 30 % of the steps
        (900, 100, 60),  # in proportion, if that is more
        (50, 3000, 100),
    ],
)
def test_a_warm_up_is_hardly_shortened(tiny, own, steps, warmup):
    config = tiny("train.steps=1500", f"train.warmup_steps={own}")

    assert budget_of(with_steps(config, steps)).warmup_steps == warmup


def test_a_shared_warm_up_fits_the_shortest_stage(tiny):
    phase = "phases: [{optimizers: [{schedule: {warmup_steps: 40}}]}]"
    stages = f"[{{name: a, steps: 200}}, {{name: b, steps: 800, {phase}}}]"
    config = tiny("train.steps=null", "train.warmup_steps=40", f"train.stages={stages}")

    train = with_steps(config, 100).train

    assert train.warmup_steps == 6  # 30 % of the 20 steps of a
    assert train.stages[1].phases[0].optimizers[0].schedule.warmup_steps == 24  # of b's 80


def test_schedules_of_single_optimizers_are_stretched_too(tiny):
    config = tiny("train.optimizers=[{schedule: {warmup_steps: 8}}, {name: plain, kind: sgd}]")

    first, second = with_steps(config, 20).train.optimizers

    assert first.schedule.warmup_steps == 6  # of 20 steps, no fewer than 30 %
    assert second.schedule is None


def test_stages_share_the_budget_as_they_shared_their_own(tiny):
    config = tiny("train.steps=null", "train.stages=[{name: a, steps: 10}, {name: b, steps: 30}]")

    assert [stage.steps for stage in with_steps(config, 100).train.stages] == [25, 75]
    assert [stage.steps for stage in with_steps(config, 2).train.stages] == [1, 1]
    with pytest.raises(UserError, match="'tiny' has 2 stages and needs as many steps"):
        with_steps(config, 1)


def test_a_stretched_experiment_is_still_a_valid_file(tiny):
    config = tiny("train.steps=null", "train.stages=[{name: a, steps: 10}]")

    stretched = with_steps(config, 7)

    assert ExperimentConfig.from_yaml(stretched.to_yaml()) == stretched


def test_ten_steps_are_logged_at_least(tiny):
    assert with_steps(tiny(), 40).train.log_every == 4
    assert with_steps(tiny(), 5).train.log_every == 1
    assert with_steps(tiny(), 5000).train.log_every == 50


def test_epochs_are_refused_with_a_remedy(tiny):
    config = tiny("train.steps=null", "train.epochs=3")

    with pytest.raises(UserError, match=r"'tiny' counts in epochs.*--set train\.steps=1000"):
        budget_of(config)


def test_one_budget_is_the_firsts_unless_each_keeps_its_own(tiny):
    experiments = {"short": tiny("train.steps=40"), "long": tiny("train.steps=90")}

    def steps(*arguments):
        return [budget_of(one).steps for one in planned(experiments, *arguments).values()]

    assert steps(None, False) == [40, 40]
    assert steps(160, False) == [10, 10]
    assert steps(None, True) == [40, 90]

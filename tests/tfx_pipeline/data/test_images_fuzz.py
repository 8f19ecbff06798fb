"""Mutated files, the same in every run; benchmarks/fuzz_images.py tries more of them."""

from tests import picture_fuzzing


def test_every_broken_file_is_an_image_or_rejected_with_a_reason():
    outcomes = picture_fuzzing.run(seed=1, numbers=range(1000))
    assert outcomes.failures == []
    assert outcomes.images.total() + outcomes.rejected.total() == 1000
    # Of each format, some still are images and some are not.
    assert set(outcomes.images) == set(picture_fuzzing.corpus())
    assert {name.split()[0] for name in outcomes.rejected} == set(picture_fuzzing.corpus())
    assert outcomes.decoded > 20 and outcomes.refused > 20


def test_files_do_not_depend_on_the_order():
    assert picture_fuzzing.mutated(1, 7) == picture_fuzzing.mutated(1, 7)
    assert picture_fuzzing.mutated(1, 7) != picture_fuzzing.mutated(2, 7)

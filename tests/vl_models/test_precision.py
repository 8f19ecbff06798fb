import pytest

from vl_models.precision import cpu_flags, resolve_precision


def test_what_is_asked_for_is_taken():
    assert resolve_precision("float32") == "float32"
    assert resolve_precision("mixed_bfloat16") == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\nprocessor\t: 1\n", {"amx_bf16", "avx2"}),
        ("processor\t: 0\n", set()),
    ],
)
def test_flags_are_those_of_the_first_processor(tmp_path, text, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(text, encoding="utf-8")
    assert flags <= cpu_flags(path)
    assert bool(flags) == bool(cpu_flags(path))


def test_a_system_that_does_not_tell_has_no_flags(tmp_path):
    assert cpu_flags(tmp_path / "missing") == set()


def test_auto_is_bfloat16_exactly_where_the_processor_multiplies_it():
    # The tests see no GPU.
    fast = {"amx_bf16", "avx512_bf16"} & cpu_flags()
    assert resolve_precision("auto") == ("mixed_bfloat16" if fast else "float32")

from tfx_pipeline.report.history import read_history


def test_curves(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(
        '{"step": 0, "learning_rate/adamw": 0.1, "loss/itc": 2.0, "loss/itm": 0.7}\n'
        '{"step": 5, "loss/itc": 1.5, "learning_rate/adamw": 0.2, "step_seconds": 9}\n'
        '{"step": 5, "hook": "validation", "validation/itc": 0.5}\n'
        '{"step": 9, "codebook/perplexity": 8.0, "gradient_norm": 1.0}\n',
        encoding="utf-8",
    )
    history = read_history(path)
    assert history.curves == {
        "itc": ([0, 5], [2.0, 1.5]),
        "itm": ([0], [0.7]),
        "validation/itc": ([5], [0.5]),
        "codebook/perplexity": ([9], [8.0]),
        "learning_rate/adamw": ([0, 5], [0.1, 0.2]),
    }
    assert list(history.curves)[-2:] == ["codebook/perplexity", "learning_rate/adamw"]
    assert history.unreadable == 0


def test_broken_lines_are_counted(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"loss/a": 1}\n[1]\n\n{"step": 1, "loss/a": 1}\n{"st', "utf-8")
    history = read_history(path)
    assert history.curves == {"a": ([1], [1.0])}
    assert history.unreadable == 3


def test_no_file(tmp_path):
    assert read_history(tmp_path / "no.jsonl").curves == {}
    assert read_history(None).curves == {}

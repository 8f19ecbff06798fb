"""ClickExampleGen in a real TFX run on real emoji."""

import json
from pathlib import Path

import pytest

from tfx_pipeline.data import cldr, emoji, glyphs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (glyphs.FONT.is_file() and cldr.CLDR.is_dir()),
        reason="needs the Debian packages fonts-noto-color-emoji and unicode-cldr-core",
    ),
]


@pytest.fixture(scope="module")
def run_component(tmp_path_factory):
    """run_component(folder) → {output name: artifact, "cached": bool} of a local TFX run."""
    from tfx.orchestration import metadata, pipeline
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    from tfx_pipeline.components.click_example_gen import ClickExampleGen
    from tfx_pipeline.data.beam_options import default_beam_args
    from tfx_pipeline.data.options import DataConfig
    from tfx_pipeline.data.resolved import ResolvedData

    work = tmp_path_factory.mktemp("tfx")
    connection = metadata.sqlite_metadata_connection_config(str(work / "metadata.db"))

    def run(folder, seen=True, **changes):
        options = DataConfig(folder=folder.root, **changes)
        component = ClickExampleGen(
            data=options.folder,
            options=options.model_dump_json(),
            resolved=ResolvedData.of(options.folder, options).model_dump_json() if seen else "",
        )
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="data",
                pipeline_root=str(work / "root"),
                components=[component],
                enable_cache=True,
                metadata_connection_config=connection,
                beam_pipeline_args=default_beam_args(),
            )
        )
        with metadata.Metadata(connection) as handle:
            execution = max(handle.store.get_executions(), key=lambda e: e.id)
            events = handle.store.get_events_by_execution_ids([execution.id])
            artifacts = handle.store.get_artifacts_by_id([event.artifact_id for event in events])
            types = {kind.id: kind.name for kind in handle.store.get_artifact_types()}
        state = execution.last_known_state
        found = {types[artifact.type_id]: artifact for artifact in artifacts}
        return found, state == type(execution).CACHED

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tfx_pipeline.data.folder import DataFolder

    out = tmp_path_factory.mktemp("emoji")
    emoji.write_emoji(out, limit=60, impressions=5000, days=3)
    return DataFolder.load(out)


def test_outputs_caching_and_failure(run_component, folder):
    import pyarrow.parquet as pq

    from tfx_pipeline.data.writers import read_records

    found, cached = run_component(folder)
    assert not cached
    examples = found["Examples"]
    assert json.loads(examples.properties["split_names"].string_value) == ["train", "val", "test"]
    assert examples.custom_properties["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
    assert examples.custom_properties["file_format"].string_value == "tfrecords_gzip"
    assert examples.custom_properties["spans"].string_value == "20260101,20260102,20260103"
    clicks = {}
    for split in ("train", "val", "test"):
        files = sorted(Path(examples.uri, f"Split-{split}").iterdir())
        assert [file.name for file in files] == [
            f"data_tfrecord-{shard:05d}-of-00008.gz" for shard in range(8)
        ]
        records = [record.features.feature for file in files for record in read_records(str(file))]
        clicks[split] = sum(sum(r["query/clicks"].int64_list.value) for r in records)
        assert all(r["image/encoded"].bytes_list.value[0] for r in records)
    galleries = sorted(Path(found["vlsearch.Gallery"].uri).glob("data_tfrecord-*.gz"))
    ids = [
        record.features.feature["image/id"].bytes_list.value[0].decode()
        for file in galleries
        for record in read_records(str(file))
    ]
    assert sorted(ids) == sorted(path.stem for path in Path(folder.root, "images").iterdir())
    relevance = pq.read_table(Path(found["vlsearch.RelevanceTable"].uri, "relevance.parquet"))
    for split, total in clicks.items():
        rows = [r for r in relevance.to_pylist() if r["split"] == split]
        assert sum(row["clicks"] for row in rows) == total > 0
    summary = json.loads(Path(found["vlsearch.RejectedRows"].uri, "summary.json").read_text())
    assert summary["rejected"] == {}

    # The same input again: cached. Another window, or a new row: not.
    again, cached = run_component(folder)
    assert cached
    assert again["Examples"].uri == examples.uri
    newest, cached = run_component(folder, span_window=1)
    assert not cached
    assert newest["Examples"].custom_properties["spans"].string_value == "20260103"

    # A folder that the submitter could not see: the step looks itself.
    unseen, cached = run_component(folder, seen=False)
    assert not cached
    for name in ("input_fingerprint", "spans"):
        value = unseen["Examples"].custom_properties[name].string_value
        assert value == examples.custom_properties[name].string_value != ""

    # A cut file fails the component, with the file's name.
    log = Path(folder.root) / "log/span-20260103/clicks.parquet"
    data = log.read_bytes()
    log.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=rf"{log}: cannot be read to its end as Parquet"):
        run_component(folder)
    log.write_bytes(data)

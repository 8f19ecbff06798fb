import numpy as np
import pytest

from tfx_pipeline.evaluation.encode import Tower, encode_gallery, encode_queries
from tfx_pipeline.evaluation.gallery import read_images
from vl_models.errors import UserError


def test_batches_do_not_matter(store):
    tower = Tower(store["members"]["text_tower"], "encode_text")
    queries = ["sea", "red", "绿色", "sun", "red"]
    whole = encode_queries(tower, queries, batch_size=8)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(encode_queries(tower, queries, batch_size=2), whole)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_gallery_rows_belong_to_their_ids(store, make, batch_size):
    tower = Tower(store["members"]["image_tower"], "encode_image")
    ids, embeddings = encode_gallery(tower, store["gallery_dir"], batch_size)
    assert sorted(ids) == sorted(make.colors)
    for image_id, embedding in zip(ids, embeddings):
        color = np.array(make.colors[image_id], float)
        np.testing.assert_allclose(embedding, color / np.linalg.norm(color), atol=1e-6)


def test_part_of_the_gallery(store):
    tower = Tower(store["members"]["image_tower"], "encode_image")
    ids, embeddings = encode_gallery(tower, store["gallery_dir"], 2, keep={"blue", "red"})
    assert sorted(ids) == ["blue", "red"]
    assert embeddings.shape == (2, 3)
    with pytest.raises(UserError, match="holds no image to search in"):
        encode_gallery(tower, store["gallery_dir"], 2, keep={"gone"})


def test_image_twice_in_the_gallery(store, make, tmp_path):
    make.gallery(tmp_path / "one", {"red": make.png((255, 0, 0))}, shards=1)
    (tmp_path / "one/data_tfrecord-00001-of-00001.gz").write_bytes(
        (tmp_path / "one/data_tfrecord-00000-of-00001.gz").read_bytes()
    )
    tower = Tower(store["members"]["image_tower"], "encode_image")
    with pytest.raises(UserError, match=r"Received: image/id='red' 2 times"):
        encode_gallery(tower, tmp_path / "one", 4)


def test_read_images(store, make):
    images = read_images(store["gallery_dir"], {"pink", "gone"})
    assert images == {"pink": make.png(make.colors["pink"])}


def test_no_gallery(tmp_path):
    with pytest.raises(UserError, match=r"no file data_tfrecord-\*\.gz"):
        read_images(tmp_path, {"red"})


def test_no_saved_model(tmp_path):
    with pytest.raises(UserError, match=r"There is no SavedModel here\. Received: path="):
        Tower(tmp_path, "encode_text")


def test_missing_signature(store):
    with pytest.raises(UserError) as error:
        Tower(store["members"]["text_tower"], "encode_image")
    assert str(error.value) == (
        f"{store['members']['text_tower']}: the SavedModel has no signature encode_image. "
        "Received: signatures=['encode_text']"
    )


@pytest.mark.parametrize("scale", [1.1, float("nan")])
def test_embeddings_that_are_not_unit_norm_are_refused(make, tmp_path, scale):
    make.text_tower(tmp_path / "text", scale=scale)
    tower = Tower(tmp_path / "text", "encode_text")
    with pytest.raises(UserError, match="must have norm 1; 2 of 2 in a batch do not"):
        tower.encode(["red", "sea"])

from pathlib import Path

import pytest

from tfx_pipeline.storage.uris import check_local, check_place, check_weights_place
from vl_models.errors import UserError


@pytest.mark.parametrize("place", ["/a/[2024] shop/run", "run [1]", "a\\b"])
def test_a_place_that_weights_cannot_be_read_from_is_refused(place):
    with pytest.raises(UserError) as error:
        check_weights_place(Path(place))
    assert str(error.value) == (
        f"{place}: TensorFlow takes [ and \\ for a pattern where it reads weights again. Name "
        "another folder, or, if they are in the name of a folder above, go there and give the "
        "path from it."
    )


@pytest.mark.parametrize("place", ["/a/b", "run", "100% {x}", "商店 é", "a*b?"])
def test_other_places_hold_weights(place, tmp_path):
    import tensorflow as tf

    check_weights_place(place)
    path = f"{tmp_path}/{place.strip('/')}/weights"
    saved = tf.train.Checkpoint(value=tf.Variable(3.0)).write(path)
    read = tf.train.Checkpoint(value=tf.Variable(0.0))
    read.read(saved).assert_consumed()
    assert read.value.numpy() == 3.0


@pytest.mark.parametrize("place", ["s3://key:hidden@bucket/a", "s3:/key:hidden@bucket/a"])
def test_credentials_in_an_address_are_refused_and_not_repeated(place):
    with pytest.raises(UserError, match="holds a user or a password") as caught:
        check_local(place, "")
    assert "hidden" not in str(caught.value)
    with pytest.raises(UserError, match=r"^data\.folder: the address holds a user") as caught:
        check_place(place, "data.folder")
    assert "hidden" not in str(caught.value)
    assert check_place("s3://bucket/a@b:c") == "s3://bucket/a@b:c"
    assert check_place("folder/a:b@c") == "folder/a:b@c"

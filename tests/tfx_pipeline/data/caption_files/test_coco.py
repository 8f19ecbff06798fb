def test_annotations_find_their_images(read):
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}, {"id": 9}]
    annotations = [
        {"image_id": 8, "caption": "A cat ."},
        {"image_id": "7", "caption": "A dog ."},
        {"image_id": 1, "caption": "x"},
        {"image_id": 7, "caption": None},
        {"image_id": 9, "caption": "x"},
        "x",
    ]
    form, captions, rejected = read({"images": images, "annotations": annotations})
    assert form == "COCO captions"
    assert captions == [
        (1, "b.jpg", "A cat .", "en", None),
        (2, "a.jpg", "A dog .", "en", None),
    ]
    assert rejected == [
        (3, "missing_image_id", "annotations[2]: image_id 1 is not among the images."),
        (4, "missing_query", "annotations[3]: key 'caption' is null, where a caption belongs"),
        (
            5,
            "missing_image_id",
            "annotations[4]: the file_name of image_id 9 is missing or empty",
        ),
        (6, "malformed_row", "annotations[5]: not an object with an image_id and a caption"),
    ]


def test_an_id_of_two_images_names_none(read):
    images = [{"id": 7, "file_name": name} for name in ("a.jpg", "b.jpg")]
    images += [{"id": 8, "file_name": "c.jpg"}] * 2
    annotations = [{"image_id": 7, "caption": "x"}, {"image_id": 8, "caption": "y"}]
    _, captions, rejected = read({"images": images, "annotations": annotations})
    assert [caption[:3] for caption in captions] == [(2, "c.jpg", "y")]
    message = "annotations[0]: image_id 7 is that of several images"
    assert rejected == [(1, "missing_image_id", message)]

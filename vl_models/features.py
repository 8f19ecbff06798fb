"""Names of the tf.Example features: the contract between data, training and evaluation.

One Example per (image, split) holds the image and that split's queries. Those of images or texts
alone are in folders beside the split's, ``Split-train-image-only`` and ``Split-train-text-only``.
"""

IMAGE_ID = "image/id"  # bytes[1]
IMAGE_ENCODED = "image/encoded"  # bytes[1], JPEG or PNG, shorter side = configured size
IMAGE_URI = "image/uri"  # bytes[1], gallery only
IMAGE_CLICKS_TOTAL = "image/clicks_total"  # int64[1], for the logQ correction
IMAGE_FEATURES = "image/features"  # float[d], precomputed image features
IMAGE_2_ENCODED = "image2/encoded"  # bytes[1], second image of a pair

QUERY_TEXT = "query/text"  # bytes[n], normalised
QUERY_CLICKS = "query/clicks"  # int64[n]
QUERY_WEIGHT = "query/weight"  # float[n], position-debiased clicks
QUERY_LANGUAGE = "query/language"  # bytes[n]
QUERY_CLICKS_TOTAL = "query/clicks_total"  # int64[n], over all images of the split
QUERY_IMAGES = "query/images"  # int64[n], clicked images of the split, for inverse frequencies
QUERY_CORRELATION = "query/correlation"  # bytes[n], "strong" | "weak"
QUERY_FEATURES = "query/features"  # float[n * d], precomputed text features

LABEL_ID = "label/id"  # int64[*]
LABEL_TEXT = "label/text"  # bytes[*]
TEXT_LABEL_TEXT = "text_label/text"  # bytes[*], labels of the texts by a system of their own
QUESTION_ID = "question/id"  # bytes[1], of data with answers
ANSWER_TEXT = "answer/text"  # bytes[*]
ANSWER_SCORE = "answer/score"  # float[*]

SOURCE_TYPE = "source/type"  # bytes[1], one of SOURCE_TYPES
SOURCE_NAME = "source/name"  # bytes[1], the data set

SOURCE_TYPES = ("click", "caption", "label", "image_only", "text_only", "question")
SPLITS = ("train", "val", "test")

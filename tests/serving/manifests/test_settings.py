import pytest

from serving.errors import ServingError
from serving.manifests import Settings
from serving.manifests.storage import Claim, ObjectStore, parse_storage

VOLUME = Claim("releases", "")
STORE = ObjectStore("s3", "bucket", "")


@pytest.mark.parametrize(
    ("text", "storage"),
    [
        ("pvc:releases", VOLUME),
        ("pvc:releases/", VOLUME),
        ("pvc://releases/search/emoji", Claim("releases", "search/emoji")),
        ("s3://bucket", STORE),
        ("gs://bucket/a/b/", ObjectStore("gs", "bucket", "a/b")),
    ],
)
def test_places_of_a_release(text, storage):
    assert parse_storage(text) == storage


@pytest.mark.parametrize(
    "text", ["s3://key:hidden@bucket/path", "gs://k:hid/hidden@b", "key:hidden@b/p"]
)
def test_a_password_in_a_place_is_refused_and_not_shown(text):
    with pytest.raises(ServingError, match="with a user or a password") as caught:
        parse_storage(text)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "releases",
        "pvc:",
        "pvc:Releases",
        "pvc:a..b",
        "pvc:a-/b",
        f"pvc:{'a' * 254}",
        "pvc:a/../b",
        "pvc:a/b//c",
        "hdfs://x",
        "s3:///a",
    ],
)
def test_other_places_are_refused(text):
    with pytest.raises(ServingError) as raised:
        parse_storage(text)
    assert str(raised.value) == (
        "--storage is pvc:CLAIM[/subpath], s3://bucket[/path] or gs://bucket[/path], the place of "
        f"the release root as pods reach it. Received: {text!r}."
    )


def test_addresses_of_a_model():
    assert VOLUME.uri("text_tower") == "pvc://releases/text_tower"
    assert ObjectStore("gs", "bucket", "a/b").uri("text_tower") == "gs://bucket/a/b/text_tower"
    assert ObjectStore("gs", "bucket", "a/b").remote("") == ":gcs:bucket/a/b"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Search"}, "--name must be a DNS label of at most 40 .* Received: 'Search'"),
        ({"name": "1search"}, "--name must be a DNS label"),
        ({"name": "search-"}, "--name must be a DNS label"),
        ({"name": "s" * 41}, "--name must be a DNS label"),
        ({"namespace": "a.b"}, r"--namespace must be a DNS label.* Received: 'a\.b'"),
        ({"image": "a b"}, "--image must be an image's name, such as tensorflow/serving:2"),
        ({"cpu": "two"}, "--cpu must be cores or thousandths of one.* Received: 'two'"),
        ({"cpu": "0"}, "--cpu and --memory must be more than nothing. Received: --cpu 0 --mem"),
        ({"image": "serving:"}, "--image must be an image's name.* Received: 'serving:'"),
        ({"image": "图/serving"}, "--image must be an image's name"),
        ({"image": "tensorflow/Serving"}, "--image must be an image's name"),
        ({"cpu": "٣"}, "--cpu must be cores or thousandths of one.* Received: '٣'"),
        ({"memory": "4GB"}, "--memory must be bytes with a suffix, such as 4Gi. Received: '4GB'"),
        ({"memory": "0Gi"}, "--cpu and --memory must be more than nothing"),
        ({"replicas": 0}, "--replicas must be at least 1 .* Received: --replicas 0 --max"),
        ({"replicas": 7}, ".* at most --max-replicas. Received: --replicas 7 --max-replicas 6"),
        ({"gpus": 0}, "--gpu must be at least 1. Received: --gpu 0"),
        ({"canary": -1}, "--canary is a percentage, from 0 to 100. Received: --canary -1"),
        ({"canary": 101}, "--canary is a percentage, from 0 to 100. Received: --canary 101"),
        ({"namespace": "n" * 64}, "--namespace must be a DNS label"),
        ({"namespace": "team-"}, "--namespace must be a DNS label"),
        ({"service_account": "a..b"}, "--service-account must be the name of one"),
        ({"service_account": "a.-b"}, "--service-account must be the name of one"),
        ({"service_account": "A"}, "--service-account must be the name of one. Received: 'A'"),
        ({"storage": STORE, "secret": "k=v"}, "--secret must be the name of a Secret, not its"),
        ({"secret": "keys"}, "--secret is for an object store; a volume needs none"),
        ({"mount_path": "models"}, "No volume can be mounted at 'models' in a container. Give"),
        ({"mount_path": "/"}, "No volume can be mounted at '/'"),
        ({"mount_path": "/usr/lib/x"}, "No volume can be mounted at '/usr/lib/x'"),
        ({"mount_path": "/tmp"}, "No volume can be mounted at '/tmp'"),
        ({"mount_path": "/a/../b"}, r"No volume can be mounted at '/a/\.\./b'"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_first(settings, message):
    with pytest.raises(ServingError, match=f"^{message}"):
        Settings(**{"storage": VOLUME, **settings})


def test_the_content_of_a_secret_is_not_repeated():
    with pytest.raises(ServingError) as raised:
        Settings(STORE, secret="AWS_SECRET_ACCESS_KEY=s3same")
    assert "s3same" not in str(raised.value)


@pytest.mark.parametrize(
    ("cpu", "cores"), [("2", 2), ("0.5", 1), ("1500m", 2), ("250m", 1), ("16", 16), ("2.5", 3)]
)
def test_threads_come_from_the_cores_of_a_pod(cpu, cores):
    assert Settings(VOLUME, cpu=cpu).cores == cores


@pytest.mark.parametrize(
    ("image", "with_cuda"),
    [
        ("tensorflow/serving", "tensorflow/serving:latest-gpu"),
        ("registry:5000/serving:2.19.1", "registry:5000/serving:2.19.1-gpu"),
        ("registry:5000/serving", "registry:5000/serving:latest-gpu"),
        ("own/serving:3-gpu", "own/serving:3-gpu"),
        (f"own/serving:3@sha256:{'0' * 64}", f"own/serving:3@sha256:{'0' * 64}"),
    ],
)
def test_the_image_with_cuda(image, with_cuda):
    assert Settings(VOLUME, image=image).gpu_image == with_cuda

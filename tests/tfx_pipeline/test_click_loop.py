"""The loop: what people click on the page is the click log of the next run."""

import random
import shutil

import numpy as np
import pytest
from PIL import Image

from serving.client import SearchClient
from serving.gateway.click_log.closed_files import closed_files
from serving.gateway.server import GatewayServer, open_gateway
from serving.gateway.settings import ClickLogSettings, GatewaySettings
from tests.serving.waiting import wait_until
from tests.tfx_pipeline.conftest import TINY, vlsearch

pytestmark = pytest.mark.slow

SESSIONS, SEARCHES = 200, 3
# What the crowd calls warm, middling and cold colours: words that the model has never met.
WORDS = ("warmo", "medio", "koldo")
NOUNS = ("thing", "sign", "picture", "one", "item", "face", "object", "idea")
TYPED, HELD_OUT = NOUNS[:4], NOUNS[4:]


def by_colour(folder):
    """Ids of the images, a third for each word: by how much more red there is than blue."""

    def warmth(path):
        pixels = np.asarray(Image.open(path).convert("RGB"), float).reshape(-1, 3)
        drawn = pixels[pixels.min(axis=1) < 240]  # not the white around it
        return (drawn[:, 0] - drawn[:, 2]).mean() if len(drawn) else 0.0

    ordered = sorted(folder.glob("*.png"), key=warmth, reverse=True)
    parts = np.array_split([path.stem for path in ordered], len(WORDS))
    return {word: set(part.tolist()) for word, part in zip(WORDS, parts)}


def ranks(client, preferred, count):
    """Mean rank of the images that the crowd means, for each query that it did not type."""
    found = []
    for word, images in preferred.items():
        for noun in HELD_OUT:
            hits = client.search(f"{word} {noun}", k=count, rerank=0).hits
            found.append(np.mean([hit.rank for hit in hits if hit.id in images]))
    return np.array(found)


def crowd(client, preferred):
    """People who mean one of the images on a page, and click it if they look so far down."""
    draw = random.Random(3)
    for number in range(SESSIONS):
        for _ in range(SEARCHES):
            word = draw.choice(WORDS)
            query = f"{word} {draw.choice(TYPED)}"
            answer = client.search(query, k=40, session=f"person-{number}")
            hit = draw.choice([hit for hit in answer.hits if hit.id in preferred[word]])
            if draw.random() < hit.rank**-0.3:
                client.click(answer, hit.id)


def test_what_a_crowd_prefers_moves_up_on_queries_that_it_did_not_type(tiny_run, tmp_path):
    """A preference that the model lacks, 200 sessions over the API, one more run."""
    output, clicks = tmp_path / "output", tmp_path / "clicks"
    shutil.copytree(tiny_run.serving, output / "serving", symlinks=True)
    preferred = by_colour(tiny_run.data / "images")
    log = ClickLogSettings(clicks, explore=0.1)
    with open_gateway(output / "serving", GatewaySettings(log=log)) as gateway:
        count = len(gateway.index)
        with GatewayServer(gateway, access_log=None) as server, SearchClient(server.url) as client:
            before = ranks(client, preferred, count)
            crowd(client, preferred)
    assert len(list(closed_files(clicks))) >= 1
    vocabulary = output / "serving" / "weights" / "1" / "vocabulary.txt"
    settings = [
        *TINY,
        "train.steps=120",
        f"train.warm_start={{from: {output / 'serving'}}}",
        f"vocabulary.pretrained={vocabulary}",
        "evaluate.thresholds={}",
        "data.splits={policy: by_pair}",
    ]
    overrides = [part for setting in settings for part in ("--set", setting)]
    with open_gateway(output / "serving", GatewaySettings()) as gateway:
        command = ("run", "--config", "configs/emoji.yaml", "--smoke", "--data", str(clicks))
        told = vlsearch(*command, "--output", str(output), *overrides).stdout
        assert "Released version 2" in told
        wait_until(lambda: gateway.release == 2)  # the live service has moved on
        with GatewayServer(gateway, access_log=None) as server, SearchClient(server.url) as client:
            after = ranks(client, preferred, count)
    gained = before - after  # places up, by query
    draws = np.random.default_rng(1).choice(gained, (2000, len(gained))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{gained.mean():.1f} places up ({low:.1f} to {high:.1f}), from {before.mean():.1f}")
    assert low > 0, (gained.mean(), low, high)

"""A simulated click log over graded relevance: sessions, positions, noise.

Position-based model: a result at position k is examined with probability 1 / k ** eta and,
if examined, clicked with a probability that its grade decides (Chuklin, Markov, de Rijke:
Click Models for Web Search, 2015, section 3.3). Queries come by Zipf's law.
"""

from __future__ import annotations

import dataclasses

import numpy as np

PAGE = 10  # results per session


@dataclasses.dataclass(frozen=True)
class ClickModel:
    """Parameters of the simulation.

    Attributes:
        eta: examination propensity at position k is 1 / k ** eta.
        attraction: click probability of an examined result by grade 0 (noise), 1, 2.
        zipf: exponent of the queries' popularity.
        ranking_noise: standard deviation added to the engine's scores per session; the same
            image appears at different positions, as under a ranker that explores.
        noise_images: irrelevant images that the engine mixes into a query's results.
    """

    eta: float = 0.7
    attraction: tuple[float, float, float] = (0.015, 0.75, 0.95)
    zipf: float = 1.0
    ranking_noise: float = 0.7
    noise_images: int = 12


@dataclasses.dataclass(frozen=True)
class Impressions:
    """Shown results, one entry each, ordered by session and position.

    Attributes:
        session: int64[n].
        query: int64[n].
        image: int64[n].
        position: int64[n], 1-based.
        clicked: int64[n], 0 or 1.
        grade: int64[n], 0 for noise.
    """

    session: np.ndarray
    query: np.ndarray
    image: np.ndarray
    position: np.ndarray
    clicked: np.ndarray
    grade: np.ndarray


class Simulator:
    """Simulates sessions over true pairs (query, image, grade)."""

    def __init__(
        self,
        query: np.ndarray,
        image: np.ndarray,
        grade: np.ndarray,
        forbidden: np.ndarray,
        images: int,
        model: ClickModel,
        seed: int,
    ):
        """Set up the candidates of each query.

        Args:
            query: int64[n] of the true pairs, 0-based.
            image: int64[n].
            grade: int64[n], 1 or 2.
            forbidden: keys query * images + image that must never be shown as noise.
            images: number of images.
            model: the parameters.
            seed: of all random draws.
        """
        self.model = model
        self.rng = np.random.default_rng(seed)
        self.images = images
        queries = np.unique(query)
        noise_query = np.repeat(queries, model.noise_images)
        noise_image = self.rng.integers(0, images, len(noise_query))
        noise = np.unique(noise_query * images + noise_image)
        noise = noise[~np.isin(noise, np.concatenate([forbidden, query * images + image]))]
        self.query = np.concatenate([query, noise // images])
        self.image = np.concatenate([image, noise % images])
        self.grade = np.concatenate([grade, np.zeros(len(noise), np.int64)])
        order = np.argsort(self.query, kind="stable")
        self.query, self.image = self.query[order], self.image[order]
        self.grade = self.grade[order]
        self.queries = queries
        self.start = np.searchsorted(self.query, queries)
        self.count = np.diff(np.append(self.start, len(self.query)))

    def run(self, impressions: int) -> Impressions:
        """Simulate sessions until there are at least so many impressions.

        An engine that knows a new image shows it until it has feedback: the sessions of the
        first rounds rank images without a click first. The others come by popularity.
        """
        covered = self.grade == 0
        parts: list[Impressions] = []
        shown = 0
        while shown < 0.7 * impressions:
            waiting = np.unique(self.query[~covered])
            if not len(waiting):
                break
            part, candidate = self._sessions(np.searchsorted(self.queries, waiting), ~covered)
            covered[candidate[part.clicked == 1]] = True
            parts.append(part)
            shown += len(part.session)
        popularity = 1.0 / np.arange(1, len(self.queries) + 1) ** self.model.zipf
        popularity = self.rng.permutation(popularity / popularity.sum())
        nobody = np.zeros(len(self.query), bool)
        while shown < impressions:
            sessions = max(1, (impressions - shown) // PAGE)
            drawn = self.rng.choice(len(self.queries), sessions, p=popularity)
            part, _ = self._sessions(drawn, nobody)
            parts.append(part)
            shown += len(part.session)
        return self._shuffle(parts)

    def _sessions(self, drawn: np.ndarray, first: np.ndarray) -> tuple[Impressions, np.ndarray]:
        """One session per drawn query; candidates marked `first` rank above the others."""
        counts = self.count[drawn]
        session = np.repeat(np.arange(len(drawn)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        candidate = np.repeat(self.start[drawn], counts) + within
        score = self.grade[candidate] + self.rng.normal(0, self.model.ranking_noise, len(candidate))
        order = np.lexsort((-(score + 10 * first[candidate]), session))
        # Within one session the candidates are now sorted; `within` is their rank.
        keep = within < PAGE
        session, candidate, position = session[keep], candidate[order][keep], within[keep] + 1
        grade = self.grade[candidate]
        examined = self.rng.random(len(candidate)) < 1.0 / position**self.model.eta
        attracted = self.rng.random(len(candidate)) < np.array(self.model.attraction)[grade]
        part = Impressions(
            session,
            self.query[candidate],
            self.image[candidate],
            position,
            (examined & attracted).astype(np.int64),
            grade,
        )
        return part, candidate

    def _shuffle(self, parts: list[Impressions]) -> Impressions:
        """Number the sessions anew, in random order."""
        offsets = np.cumsum([0, *(part.session.max() + 1 for part in parts)])
        session = np.concatenate([p.session + o for p, o in zip(parts, offsets)])
        session = self.rng.permutation(offsets[-1])[session]
        names = [field.name for field in dataclasses.fields(Impressions)][1:]
        columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
        order = np.lexsort((columns["position"], session))
        return Impressions(session[order], **{k: v[order] for k, v in columns.items()})

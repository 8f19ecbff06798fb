"""Whether the demo's towers put a right picture first (bar: 13 of 16 queries).

python benchmarks/demo_queries.py [--release build/demo/serving] [--json FILE]

The queries of `make demo`, and ten more. Queries and right pictures were written down before the
towers that they judge were trained.
"""

from pathlib import Path

from _shared import Results, argument_parser

BAR = 13
CATS = "1f431 1f408 1f408-200d-2b1b 1f638 1f639 1f63a 1f63b 1f63c 1f63d 1f63e 1f63f 1f640"
CYCLES = "1f6b2 1f6b4 1f6b4-200d-2640 1f6b4-200d-2642 1f6b5 1f6b5-200d-2640 1f6b5-200d-2642"
DOGS = "1f436 1f415 1f415-200d-1f9ba 1f429 1f9ae"
RAIN = "1f327 1f326 2614 26c8"
RIGHT = {
    # Those of `make demo`.
    "birthday cake": "1f382",
    "生日": "1f382 1f381 1f388 1f389 1f973",  # birthday: cake, gift, balloon, popper, party hat
    "dog": DOGS,
    "狗": DOGS,
    "rain": RAIN,
    "下雨": RAIN,
    # Further ones.
    "pizza": "1f355",
    "coffee": "2615",
    "rocket": "1f680",
    "sunflower": "1f33b",
    "guitar": "1f3b8",
    "飞机": "2708 1f6e9 1f6eb 1f6ec",  # airplane
    "猫": CATS,
    "雪人": "2603 26c4",  # snowman
    "足球": "26bd",  # football
    "自行车": CYCLES,  # bicycle
}


def main():
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--release", type=Path, default=Path("build/demo/serving"), help="serving root"
    )
    arguments = parser.parse_args()

    from serving.search import SearchService, embedded_server

    queries = list(RIGHT)
    with embedded_server(arguments.release) as client:
        found = SearchService(arguments.release, client).search(queries, 1)
    results, right = Results(), 0
    for query, [hit] in zip(queries, found, strict=True):
        fits = hit.id.removeprefix("u") in RIGHT[query].split()
        right += fits
        results.add(query, hit.id + ("" if fits else ", which is wrong"))
    bar = f"≥ {BAR} of {len(queries)}"
    results.add("a right picture first", f"{right} of {len(queries)}", bar, right >= BAR)
    results.finish(arguments)


if __name__ == "__main__":
    main()

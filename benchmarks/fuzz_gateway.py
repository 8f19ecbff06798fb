"""The search service against what its OpenAPI description allows: no answer may be 500.

python benchmarks/fuzz_gateway.py --release build/demo/serving --examples 2000
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from _shared import Results, argument_parser


def statuses_of(operation: Any, examples: int) -> Counter[int]:
    """Answers by status to so many requests that an operation's description allows."""
    from hypothesis import HealthCheck, given, settings

    statuses: Counter[int] = Counter()

    @given(case=operation.as_strategy())
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        statuses[case.call().status_code] += 1

    ask()
    return statuses


def main() -> None:
    """Ask."""
    import schemathesis

    from serving.gateway.server import GatewayServer, open_gateway
    from serving.gateway.settings import ClickLogSettings, GatewaySettings

    parser = argument_parser(__doc__ or "")
    parser.add_argument("--release", type=Path, default=Path("build/demo/serving"), metavar="ROOT")
    parser.add_argument("--examples", type=int, default=1000, help="requests of each operation")
    arguments = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory() as place:
        gateway_settings = GatewaySettings(log=ClickLogSettings(Path(place)))
        with (
            open_gateway(arguments.release, gateway_settings) as gateway,
            GatewayServer(gateway, access_log=None) as server,
        ):
            schema = schemathesis.openapi.from_url(f"{server.url}openapi.json")
            for operation in schema.get_all_operations():
                api = operation.ok()
                statuses = statuses_of(api, arguments.examples)
                told = ", ".join(f"{count} × {code}" for code, count in sorted(statuses.items()))
                name = f"{api.method.upper()} {api.path}"
                results.add(name, told, "none of 500", max(statuses) < 500)
    results.finish(arguments)


if __name__ == "__main__":
    main()

"""What benchmarks are tried on: the small shop of the serving tests."""

from tests.serving.shop import publish_shop, shop, shop_root  # noqa: F401 -- fixtures

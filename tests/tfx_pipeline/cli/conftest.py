"""The small shop of the serving tests, for commands that serve a release."""

from tests.serving.shop import publish_shop, shop, shop_root  # noqa: F401 -- fixtures

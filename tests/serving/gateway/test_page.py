"""The whole page, in a real browser."""

import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from serving.gateway.server import GatewayServer, open_gateway
from serving.gateway.settings import ClickLogSettings, GatewaySettings
from tests.serving.gateway.browser import ARGUMENTS, chromium
from tests.serving.gateway.test_clicks import rows_of
from tests.serving.shop import GOODS, MORE

pytestmark = pytest.mark.slow

ALL = len(GOODS) + MORE


@pytest.fixture(scope="module")
def browser():
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(shop_root, tmp_path_factory):
    """URL of a service that records, and its folder."""
    folder = tmp_path_factory.mktemp("page") / "log"
    settings = GatewaySettings(log=ClickLogSettings(folder))
    with (
        open_gateway(shop_root, settings) as gateway,
        GatewayServer(gateway, access_log=None) as server,
    ):
        yield server.url, folder


@pytest.fixture
def opened(browser, service):
    """(path, **context) -> a page; nothing may go wrong in it, and nothing leave the host."""
    url, _ = service
    contexts, problems = [], []

    def open_page(path="", expected=(), **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()

        def note(message):
            if message.type in ("error", "warning") and not any(
                e in message.text for e in expected
            ):
                problems.append(message.text)

        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "blob:", "data:"))
                else problems.append(f"asks {request.url}")
            ),
        )
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def search(page, text):
    page.fill("#query", text)
    page.press("#query", "Enter")
    page.wait_for_selector(".card")


def names(page):
    page.wait_for_selector(".card")
    return page.eval_on_selector_all(".card", "cards => cards.map(c => c.ariaLabel)")


def counted(page, number):
    """Wait for so many results."""
    from playwright.sync_api import expect

    expect(page.locator(".card")).to_have_count(number)


def address(page):
    return parse_qs(urlsplit(page.url).query)


def test_typing_suggests_and_finds(opened):
    page = opened()
    assert page.inner_text(".notice h2") == "What are you looking for?"
    assert page.get_by_role("button", name="红鞋").is_visible()  # what others searched for
    page.keyboard.type("re")  # the focus is in the box
    option = page.get_by_role("option")
    option.first.wait_for()
    assert option.all_inner_texts() == ["red shoe"]
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#query", "aria-activedescendant") == "suggestion-0"
    page.keyboard.press("Enter")
    assert names(page)[0] == "red shoe"
    assert address(page) == {"q": ["red shoe"]}
    assert "Release 1 · ordered by the towers" in page.inner_text("#about")


def test_the_grid_grows_while_one_scrolls(opened):
    page = opened("?q=red+shoe")
    page.wait_for_selector(".card")
    page.mouse.move(600, 500)
    for _ in range(30):
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(60)
        if "These are all results" in page.inner_text("#status"):
            break
    shown = names(page)
    assert len(shown) == len(set(shown)) == ALL
    searches = page.evaluate(
        "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/v1/search')).length"
    )
    assert searches > 1
    assert page.inner_text("#status") == f"{ALL} results · These are all results."


def test_hover_and_focus_tell_more(opened):
    page = opened("?q=red+shoe")
    card = page.locator(".card").first
    caption = card.locator(".caption")
    card.hover()
    page.wait_for_timeout(300)
    assert caption.evaluate("c => getComputedStyle(c).opacity") == "1"
    assert caption.inner_text().splitlines() == [
        "red shoe",
        "Score 1.000",
        "group: shoes",
        "price: 40",
    ]


def test_filters_count_and_leave(opened):
    page = opened("?q=red+shoe")
    shoes = page.get_by_label("shoes")
    assert page.locator("label", has=shoes).inner_text().split() == ["shoes", "2"]
    shoes.check()
    counted(page, 2)
    assert set(names(page)) == {"red shoe", "blue shoe"}
    assert json.loads(address(page)["filter"][0]) == {"group": ["shoes"]}
    page.get_by_label("price to").fill("45")
    page.get_by_label("price to").press("Enter")
    counted(page, 1)
    bags = page.locator("label", has=page.get_by_label("bags"))
    assert bags.inner_text().split() == ["bags", "0"]  # none is that cheap
    page.get_by_label("price to").fill("-5")
    page.get_by_label("price to").press("Enter")
    page.wait_for_selector(".notice")
    assert page.inner_text(".notice h2") == "Nothing was found"
    page.get_by_role("button", name="Remove filters").click()
    assert len(names(page)) == 40


def test_a_panel_for_an_image_and_back(opened, service):
    page = opened("?q=red+shoe")
    page.locator(".card").first.click()
    page.wait_for_selector("#panel[open]")
    assert page.inner_text("#panel-title") == "red shoe"
    terms = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts()))
    assert terms["price"] == "40" and terms["tags"] == "b" and terms["new"] == "no"
    link = page.get_by_role("link", name="https://shop.example/red-shoe")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    assert "红鞋" in page.locator("#panel-queries button").all_inner_texts()
    assert address(page)["item"] == ["red-shoe"]
    page.go_back()
    page.wait_for_selector("#panel:not([open])", state="attached")
    page.go_forward()
    page.wait_for_selector("#panel[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel:not([open])", state="attached")
    page.wait_for_url(lambda url: "item=" not in url)
    assert address(page) == {"q": ["red shoe"]}


def test_what_is_no_address_of_the_web_is_no_link(opened):
    page = opened("?q=tea+pot&item=tea-pot")
    page.wait_for_selector("#panel[open]")
    assert page.locator("dd", has_text="javascript:alert(1)").count() == 1
    assert page.locator("#panel a").count() == 0


def test_more_like_more_of_and_less_of(opened):
    page = opened("?q=red+shoe")
    page.locator(".card").nth(1).click()
    page.get_by_role("button", name="More like this").click()
    page.wait_for_url(lambda url: "like=" in url)
    [item] = address(page)["like"]
    page.wait_for_selector(".chip")
    page.go_back()  # to the results that were open
    page.wait_for_url(lambda url: "like=" not in url)
    assert names(page)[0] == "red shoe"
    page.locator(".card").nth(2).click()
    page.get_by_role("button", name="Less of this").click()
    page.wait_for_selector(".chip.less")
    assert address(page)["q"] == ["red shoe"] and len(address(page)["less"]) == 1
    page.locator(".chip button").click()
    page.wait_for_selector(".chip", state="detached")
    assert address(page) == {"q": ["red shoe"]}
    assert item not in ("", "red-shoe")


def png(colour):
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "PNG")
    return stream.getvalue()


DROP = """(bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(
      new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
PASTE = """(bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
  dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
}"""


def test_an_image_is_chosen_dropped_or_pasted(opened):
    found = []
    for way in ("choose", DROP, PASTE):
        page = opened()
        page.wait_for_selector(".notice")
        if way == "choose":
            with page.expect_file_chooser() as chooser:
                page.get_by_role("button", name="Search with an image").click()
            file = {"name": "a.png", "mimeType": "image/png", "buffer": png((9, 99, 199))}
            chooser.value.set_files(file)
        else:
            page.evaluate(way, list(png((9, 99, 199))))
        found.append(names(page))
        assert page.locator("#upload-preview").is_visible()
        assert "image" in address(page)
    assert found[0] == found[1] == found[2]
    page.reload()  # what was chosen is not kept
    page.wait_for_selector(".notice")
    assert "is not kept" in page.inner_text(".notice h2")


def test_what_is_no_image_is_said(opened):
    page = opened()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with an image").click()
    chooser.value.set_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"})
    page.wait_for_selector("text=This is not an image")


def test_chinese_by_the_browsers_language_and_by_choice(opened):
    page = opened(locale="zh-CN")
    assert page.get_attribute("html", "lang") == "zh"
    assert page.inner_text(".notice h2") == "您在找什么？"
    search(page, "red shoe")
    assert names(page)[0] == "红鞋"  # the item's own Chinese name
    page.get_by_role("link", name="English").click()
    page.wait_for_selector('html[lang="en"]')
    assert names(page)[0] == "red shoe" and address(page)["q"] == ["red shoe"]


def test_it_is_dark_where_that_is_wanted_and_fits_a_telephone(opened):
    colours = {}
    for scheme in ("light", "dark"):
        page = opened("?q=red+shoe", color_scheme=scheme, viewport={"width": 390, "height": 844})
        names(page)
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator(".card").first.click()
        page.wait_for_selector("#panel[open]")
        box = page.locator("#panel").bounding_box()
        assert box["width"] <= 390
    assert colours["light"] == "rgb(246, 247, 251)" and colours["dark"] == "rgb(15, 17, 24)"


def test_everything_by_the_keyboard_alone(opened):
    page = opened()
    page.wait_for_selector(".notice")
    page.keyboard.type("red shoe")
    page.keyboard.press("Enter")
    names(page)
    page.keyboard.press("Tab")
    for _ in range(30):
        if page.evaluate("document.activeElement.classList.contains('card')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    focused = page.evaluate("document.activeElement.dataset.id")
    assert focused == page.locator(".card").nth(1).get_attribute("data-id")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel:not([open])", state="attached")
    page.wait_for_url(lambda url: "item=" not in url)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_accessibility(opened):
    pytest.importorskip("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe

    # axe brings its own script, which the page's policy would refuse.
    for path, scheme in (
        ("", "light"),
        ("?q=red+shoe&lang=zh", "dark"),
        ("?q=red+shoe&item=red-shoe", "light"),
        ("?q=red+shoe&item=red-shoe", "dark"),
    ):
        page = opened(path, color_scheme=scheme, bypass_csp=True)
        page.wait_for_selector(".card, .notice")
        page.wait_for_timeout(250)
        violations = Axe().run(page).response["violations"]
        serious = [v for v in violations if v["impact"] in ("serious", "critical")]
        told = [(v["id"], [n["html"][:150] for n in v["nodes"]][:3]) for v in serious]
        assert not told, (path, scheme, told)


def test_slow_and_failing_searches_are_told(opened):
    page = opened(expected=("Failed to load resource", "net::ERR_FAILED"))
    page.wait_for_selector(".notice")
    page.route("**/v1/search", lambda route: route.abort())
    page.fill("#query", "red shoe")
    page.press("#query", "Enter")
    page.wait_for_selector("text=The service cannot be reached")
    page.unroute("**/v1/search")
    page.get_by_role("button", name="Try again").click()
    assert names(page)[0] == "red shoe"

    held = []
    page.route("**/v1/search", lambda route: held.append(route))
    page.fill("#query", "tea pot")
    page.press("#query", "Enter")
    page.wait_for_selector("text=This takes longer than usual")
    held[0].continue_()
    page.wait_for_selector(".card")


def test_clicks_are_recorded_and_taken_back(opened, service):
    page = opened()
    assert "is recorded" in page.inner_text("footer")
    search(page, "bicycle")
    with page.expect_response("**/v1/events") as told:
        page.locator(".card").first.click()
    assert told.value.json() == {"recorded": True}
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel:not([open])", state="attached")
    with page.expect_response("**/v1/session") as told:
        page.get_by_role("button", name="Delete what is recorded").click()
    assert told.value.json() == {"forgotten": True}
    page.wait_for_selector("text=Deleted.")
    assert rows_of(service[1]) == []  # nothing is closed yet


def test_openapis_page_works_with_files_of_the_service(opened):
    page = opened("docs")
    page.wait_for_selector("text=Search for a text, an image, items like one, or a mix")

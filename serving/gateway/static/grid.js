// The results: cards that grow while one scrolls.
import { find, make } from "./dom.js";
import { language, say } from "./words.js";

// Names of columns that hold an item's name, the page's own language first.
const nameColumns = [`name_${language}`, `title_${language}`, "name", "title"];

export function nameOf(hit) {
  const column = nameColumns.find((name) => typeof hit.item[name] === "string");
  return column ? hit.item[column] : hit.id;
}

export const shown = (value) =>
  Array.isArray(value) ? value.join(", ") : typeof value === "boolean" ? say(value ? "yes" : "no") : String(value);

export function detailsOf(hit) {
  const own = nameColumns.find((name) => typeof hit.item[name] === "string");
  return Object.entries(hit.item).filter(([name]) => name !== own);
}

const isName = ([column]) => /^(name|title)(_|$)/.test(column);

export function card(hit, open) {
  const name = nameOf(hit);
  const score = hit.rerank_score ?? hit.score;
  const lines = [
    `${hit.rerank_score === null ? say("score") : say("reranked_score")} ${score.toFixed(3)}`,
    ...detailsOf(hit).filter((detail) => !isName(detail)).slice(0, 2).map(([column, value]) => `${column}: ${shown(value)}`),
  ];
  const image = make("img", {
    src: hit.thumbnail,
    alt: "",
    loading: "lazy",
    decoding: "async",
    width: 320,
    height: 320,
    onload: () => image.classList.toggle("photo", image.naturalWidth > 160),
    onerror: () => {
      image.remove();
      button.classList.add("missing");
    },
  });
  const button = make(
    "button",
    { type: "button", class: "card", "aria-label": name, "data-id": hit.id, onclick: () => open(hit) },
    image,
    make(
      "span",
      { class: "caption", "aria-hidden": "true" },
      make("b", {}, name),
      ...lines.map((line) => make("span", {}, line)),
    ),
  );
  return make("li", {}, button);
}

export function setUpGrid(more) {
  const grid = find("grid");
  const watcher = new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && more(),
    { rootMargin: "600px" },
  );
  watcher.observe(find("sentinel"));
  grid.addEventListener("keydown", (event) => {
    const cards = [...grid.querySelectorAll(".card")];
    const place = cards.indexOf(document.activeElement);
    if (place < 0) return;
    const top = cards[0].getBoundingClientRect().top;
    const columns = cards.filter((one) => one.getBoundingClientRect().top === top).length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    const next = cards[place + (steps[event.key] ?? 0)];
    if (event.key in steps && next) {
      event.preventDefault();
      next.focus();
    }
  });
  // The watcher tells of changes only: after each page it has to look again.
  return () => {
    watcher.unobserve(find("sentinel"));
    watcher.observe(find("sentinel"));
  };
}

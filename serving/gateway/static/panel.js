// What is known of one item, beside its picture.
import * as api from "./api.js";
import { find, linkTo, make } from "./dom.js";
import { detailsOf, nameOf, shown } from "./grid.js";

export function setUpPanel({ closed, moreLike, moreOf, lessOf, searchFor }) {
  const panel = find("panel");
  let current = null;
  find("panel-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => event.target === panel && panel.close());
  panel.addEventListener("close", () => {
    if (current) closed();
    current = null;
  });
  const act = (handler) => () => {
    const { id } = current;
    current = null; // the search that follows closes it
    panel.close();
    handler(id);
  };
  find("more-like").addEventListener("click", act(moreLike));
  find("more-of").addEventListener("click", act(moreOf));
  find("less-of").addEventListener("click", act(lessOf));

  return {
    close() {
      current = null;
      if (panel.open) panel.close();
    },
    async open(id) {
      const found = await api.item(id);
      current = found;
      const name = nameOf(found);
      find("panel-title").textContent = name;
      const image = find("panel-image");
      image.src = found.image;
      image.alt = name;
      find("panel-columns").replaceChildren(
        ...detailsOf(found).flatMap(([column, value]) => [
          make("dt", {}, column),
          make("dd", {}, (typeof value === "string" && linkTo(value)) || shown(value)),
        ]),
      );
      find("panel-queries").hidden = found.queries.length === 0;
      find("panel-queries").querySelector("ul").replaceChildren(
        ...found.queries.map((text) =>
          make("li", {}, make("button", { type: "button", onclick: act(() => searchFor(text)) }, text)),
        ),
      );
      if (!panel.open) panel.showModal();
      panel.scrollTop = 0;
    },
  };
}

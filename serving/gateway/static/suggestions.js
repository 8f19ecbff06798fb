// Suggestions below the query box: a combobox as WAI-ARIA describes it.
import * as api from "./api.js";
import { find, make } from "./dom.js";

const pause = 120; // milliseconds without a key before the service is asked

export function setUpSuggestions(choose) {
  const input = find("query");
  const list = find("suggestions");
  let timer, asking;
  let selected = -1;

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    selected = -1;
  }

  function show(texts) {
    list.replaceChildren(
      ...texts.map((text, place) =>
        make(
          "li",
          {
            id: `suggestion-${place}`,
            role: "option",
            "aria-selected": "false",
            onmousedown: (event) => event.preventDefault(), // keeps the focus in the box
            onclick: () => take(text),
          },
          text,
        ),
      ),
    );
    selected = -1;
    list.hidden = texts.length === 0;
    input.setAttribute("aria-expanded", String(texts.length > 0));
  }

  function take(text) {
    close();
    choose(text);
  }

  function move(step) {
    const options = [...list.children];
    if (list.hidden || !options.length) return;
    // One place more than there are options: the box itself.
    selected = ((selected + 1 + step + options.length + 1) % (options.length + 1)) - 1;
    options.forEach((option, place) => option.setAttribute("aria-selected", String(place === selected)));
    if (selected < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", options[selected].id);
      options[selected].scrollIntoView({ block: "nearest" });
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    asking?.abort();
    const text = input.value;
    if (!text.trim()) return close();
    timer = setTimeout(async () => {
      asking = new AbortController();
      try {
        const { suggestions } = await api.suggest(text.slice(0, 200), asking.signal);
        if (document.activeElement === input && input.value === text) show(suggestions);
      } catch {
        close(); // searching works without suggestions
      }
    }, pause);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // an input method for Chinese has the keys
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape") close();
    else if (event.key === "Enter" && selected >= 0) {
      event.preventDefault();
      take(list.children[selected].textContent);
    }
  });
  input.addEventListener("blur", close);
  return close;
}

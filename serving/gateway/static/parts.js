// What a search is mixed of, above the results: each part can be taken away.
import { cross, find, make } from "./dom.js";
import { say } from "./words.js";

const thumbnail = (id) => `/thumbnails/${encodeURIComponent(id)}`;

export function showParts(state, uploaded, change) {
  const chips = [];
  const add = (kind, source, text, without) =>
    chips.push(
      make(
        "li",
        { class: `chip ${kind}` },
        make("img", { src: source, alt: "" }),
        text,
        make(
          "button",
          {
            type: "button",
            class: "icon",
            "aria-label": say("remove", { name: text }),
            onclick: () => change(without),
          },
          cross(),
        ),
      ),
    );
  if (uploaded) add("more", uploaded.url, say("your_image"), { image: "" });
  if (state.like) add("more", thumbnail(state.like), say("like", { name: state.like }), { like: "" });
  for (const kind of ["more", "less"]) {
    for (const id of state[kind]) {
      const others = state[kind].filter((one) => one !== id);
      add(kind, thumbnail(id), say(kind, { name: id }), { [kind]: others });
    }
  }
  find("parts").replaceChildren(...chips);
}

// The search as the API takes it, and the file that goes with it.
export function bodyOf(state, uploaded) {
  const parts = [];
  if (state.q) parts.push({ text: state.q });
  if (state.like) parts.push({ id: state.like });
  for (const id of state.more) parts.push({ id, weight: 0.5 });
  for (const id of state.less) parts.push({ id, weight: -0.5 });
  if (uploaded && !parts.length) return { body: {}, file: uploaded.file };
  if (uploaded) return { body: { queries: parts }, file: null, mixed: uploaded.file };
  if (parts.length === 1 && state.q) return { body: { query: state.q }, file: null };
  return { body: { queries: parts }, file: null };
}

export async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let place = 0; place < bytes.length; place += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(place, place + 0x8000));
  }
  return btoa(text);
}

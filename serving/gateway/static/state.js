// What is searched for, as the address has it: so that the back button works and links can be shared.
const uploads = new Map(); // images that were chosen here; an address cannot hold them

export const empty = () => ({ q: "", like: "", more: [], less: [], image: "", filter: {}, item: "" });

export function read() {
  const parameters = new URLSearchParams(location.search);
  let filter = {};
  try {
    filter = JSON.parse(parameters.get("filter") ?? "{}");
  } catch {
    // A link that was cut off: search without its filters.
  }
  return {
    q: parameters.get("q") ?? "",
    like: parameters.get("like") ?? "",
    more: parameters.getAll("more"),
    less: parameters.getAll("less"),
    image: parameters.get("image") ?? "",
    item: parameters.get("item") ?? "",
    filter: filter && typeof filter === "object" && !Array.isArray(filter) ? filter : {},
  };
}

export function address(state) {
  const parameters = new URLSearchParams();
  const chosen = new URLSearchParams(location.search).get("lang");
  if (chosen) parameters.set("lang", chosen);
  for (const name of ["q", "like", "image", "item"]) if (state[name]) parameters.set(name, state[name]);
  for (const name of ["more", "less"]) for (const id of state[name]) parameters.append(name, id);
  if (Object.keys(state.filter).length) parameters.set("filter", JSON.stringify(state.filter));
  const text = parameters.toString();
  return text ? `/?${text}` : "/";
}

// What decides the results, without what is merely open.
export const searchKey = (state) => address({ ...state, item: "" });

export const isEmpty = (state) =>
  !state.q && !state.like && !state.image && !state.more.length && !state.less.length;

export function keepUpload(file) {
  const key = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  uploads.set(key, { file, url: URL.createObjectURL(file) });
  return key;
}

export const upload = (key) => uploads.get(key);

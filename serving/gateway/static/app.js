// The page: what is searched for is in the address, and everything is shown from that.
import * as api from "./api.js";
import { find, make } from "./dom.js";
import { showFilters } from "./filters.js";
import { card, setUpGrid } from "./grid.js";
import { setUpPanel } from "./panel.js";
import { base64, bodyOf, showParts } from "./parts.js";
import { address, empty, isEmpty, keepUpload, read, searchKey, upload } from "./state.js";
import { setUpSuggestions } from "./suggestions.js";
import { setUpUpload } from "./upload.js";
import { language, say } from "./words.js";

const pageSize = 40;
const mostHits = 1000; // of one search, as the service has it
const slowAfter = 1500; // milliseconds

let state = empty();
let results = null; // of the search that is shown: { key, offset, done, busy, controller, tokens }
let described = null;

const closeSuggestions = setUpSuggestions((text) => go({ ...searchFor(text) }));
const lookAgain = setUpGrid(() => results && !results.done && !results.busy && nextPage());
const panel = setUpPanel({
  closed: () => history.back(),
  moreLike: (id) => go({ ...empty(), like: id, filter: state.filter }, true),
  moreOf: (id) => go({ more: with_(state.more, id), less: without(state.less, id), item: "" }, true),
  lessOf: (id) => go({ less: with_(state.less, id), more: without(state.more, id), item: "" }, true),
  searchFor: (text) => go(searchFor(text), true),
});
setUpUpload(
  (file) => go({ ...empty(), image: keepUpload(file), filter: state.filter }),
  () => notice(say("not_an_image"), ""),
);

const with_ = (ids, id) => [...without(ids, id), id];
const without = (ids, id) => ids.filter((one) => one !== id);
const searchFor = (text) => ({ ...empty(), q: text, filter: state.filter });

function go(changes, replace = false) {
  state = { ...state, ...changes };
  // What follows an open panel takes its place: going back then shows the results before it.
  history[replace ? "replaceState" : "pushState"](null, "", address(state));
  render();
}

function render() {
  closeSuggestions();
  const input = find("query");
  input.value = state.q;
  find("clear").hidden = isEmpty(state);
  const uploaded = state.image ? upload(state.image) : null;
  showParts(state, uploaded, (change) => go(change));
  const preview = find("upload-preview");
  preview.hidden = !uploaded;
  if (uploaded) preview.src = uploaded.url;
  document.title = `${state.q || say("title")} · vlsearch`;
  if (results?.key !== searchKey(state)) search(uploaded);
  if (state.item) panel.open(state.item).catch(report);
  else panel.close();
}

function search(uploaded) {
  results?.controller.abort();
  results = { key: searchKey(state), offset: 0, done: true, busy: false, controller: new AbortController(), tokens: new Map() };
  find("grid").replaceChildren();
  find("message").replaceChildren();
  find("status").textContent = "";
  describe();
  if (state.image && !uploaded) return notice(say("image_gone"), "");
  if (isEmpty(state)) return welcome();
  results.done = false;
  scrollTo(0, 0);
  nextPage();
}

async function nextPage() {
  const mine = results;
  mine.busy = true;
  const status = find("status");
  if (!mine.offset) status.textContent = say("searching");
  const slow = setTimeout(() => (status.textContent = say("slow")), slowAfter);
  try {
    const { body, file, mixed } = bodyOf(state, upload(state.image));
    if (mixed) body.queries.push({ image: await base64(mixed) });
    Object.assign(body, { k: pageSize, offset: mine.offset, filter: state.filter });
    const answer = await api.search(body, file, mine.controller.signal);
    if (mine !== results) return;
    add(answer, mine);
  } catch (error) {
    if (error.name === "AbortError" || mine !== results) return;
    mine.done = true;
    report(error);
  } finally {
    clearTimeout(slow);
    mine.busy = false;
  }
  if (mine === results && !mine.done) lookAgain();
}

function add(answer, mine) {
  const grid = find("grid");
  for (const hit of answer.hits) {
    mine.tokens.set(hit.id, answer.token);
    grid.append(card(hit, open));
  }
  mine.offset += answer.hits.length;
  mine.done = answer.hits.length < pageSize || mine.offset >= mostHits;
  const status = [say("count", { count: mine.offset.toLocaleString() })];
  if (mine.done && mine.offset) status.push(say("end"));
  if (answer.note) status.push(answer.note);
  find("status").textContent = mine.offset ? status.join(" · ") : "";
  find("about").textContent = [
    say("release", { release: answer.release }),
    say(answer.ranking === "reranker" ? "by_reranker" : "by_towers"),
    say("milliseconds", { ms: answer.milliseconds.all }),
  ].join(" · ");
  if (!mine.offset) notice(say("nothing"), say("nothing_hint"));
}

function open(hit) {
  const token = results.tokens.get(hit.id);
  if (token) api.click(token, hit.id).catch(() => {}); // the panel opens all the same
  go({ item: hit.id });
}

async function describe() {
  const key = searchKey(state);
  try {
    described = await api.collection(state.filter);
  } catch (error) {
    if (error.status === 401) return askForToken();
    return; // the search itself says what is wrong
  }
  if (key !== searchKey(state)) return;
  showFilters(described, state.filter, (filter) => go({ filter }));
  if (isEmpty(state)) {
    find("about").textContent = say("release", { release: described.release });
    if (!state.image) welcome();
  }
}

function welcome() {
  const popular = described?.popular ?? [];
  notice(say("welcome"), say("welcome_hint"));
  if (!popular.length) return;
  find("message").firstChild.append(
    make(
      "div",
      { class: "popular" },
      make("p", {}, say("popular")),
      make(
        "ul",
        {},
        ...popular.map((text) =>
          make("li", {}, make("button", { type: "button", onclick: () => go(searchFor(text)) }, text)),
        ),
      ),
    ),
  );
}

function notice(title, text, ...more) {
  find("message").replaceChildren(
    make("div", { class: "notice" }, make("h2", {}, title), make("p", {}, text), ...more),
  );
}

function report(error) {
  if (error.status === 401) return askForToken();
  find("status").textContent = "";
  const again = () => {
    results = null;
    render();
  };
  const retry = make("button", { type: "button", class: "primary", onclick: again }, say("retry"));
  notice(say("failed"), error.status === 0 ? say("offline") : error.message, retry);
}

function askForToken() {
  const dialog = find("access");
  if (dialog.open) return;
  dialog.showModal();
  dialog.addEventListener(
    "close",
    async () => ((await api.sendToken(find("access-token").value)) ? location.reload() : askForToken()),
    { once: true },
  );
}

find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const q = find("query").value.trim();
  // A text beside parts that are there is mixed with them.
  if (q || !isEmpty(state)) go({ q, item: "" });
});
find("clear").addEventListener("click", () => {
  go({ ...empty(), filter: state.filter });
  find("query").focus();
});
find("forget")?.addEventListener("click", async (event) => {
  await api.forget().then(() => event.target.replaceWith(say("forgotten")), report);
});
find("language").addEventListener("click", (event) => {
  event.preventDefault();
  const parameters = new URLSearchParams(location.search);
  parameters.set("lang", language === "zh" ? "en" : "zh");
  location.search = parameters;
});
addEventListener("keydown", (event) => {
  const typing = /^(input|textarea)$/i.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    find("query").select();
    find("query").focus();
  }
});
addEventListener("popstate", () => {
  state = read();
  render();
});

state = read();
render();
if (isEmpty(state)) find("query").focus();

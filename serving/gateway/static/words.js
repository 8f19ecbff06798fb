// The page's words, which come with it.
const words = JSON.parse(document.getElementById("words").textContent);

export const language = document.documentElement.lang;

export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

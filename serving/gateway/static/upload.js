// Searching with an image: chosen, dropped or pasted.
import { find } from "./dom.js";

export function setUpUpload(search, refuse) {
  const input = find("file");
  const take = (file) => (file.type.startsWith("image/") ? search(file) : refuse());
  find("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });

  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // of elements that the pointer is in
  const dropping = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragenter", (event) => hasFile(event) && dropping(++depth > 0));
  addEventListener("dragleave", (event) => hasFile(event) && dropping(--depth > 0));
  addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    depth = 0;
    dropping(false);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) {
      event.preventDefault();
      take(file);
    }
  });
}

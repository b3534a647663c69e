// The page of a server: the ways in, and what is done when it opens. It asks the JSON API.
import { takeToken } from "./api.js";
import { $ } from "./elements.js";
import { list } from "./landmarks.js";
import { takeFile } from "./questions.js";

for (const id of ["file", "camera"]) {
  $(id).addEventListener("change", (event) => {
    takeFile(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
}
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])][0];
  if (file) event.preventDefault(), takeFile(file);
});
for (const name of ["dragover", "drop", "dragleave"]) {
  addEventListener(name, (event) => {
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "dragleave") return;
    event.preventDefault();
    if (name === "drop") takeFile(event.dataTransfer.files[0]);
  });
}
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement;
  root.dataset.theme = (root.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
});

takeToken();
list();

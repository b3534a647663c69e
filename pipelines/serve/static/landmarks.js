// List the landmarks of the database, search them, add the photo that is shown, and remove some.
import { $, complain, count, element, openDialog, say } from "./elements.js";
import { call, showPicture } from "./api.js";
import { shownFile } from "./questions.js";

const FEW = 12; // landmarks at first
const MORE = 48; // that "Show more" adds
const MOST = 1000; // of one response
const SUGGESTED = 12; // names
const PAUSE = 200; // milliseconds without a key, after which is searched

let wanted = FEW;
let listing = 0;

async function find(search, limit) {
  const query = new URLSearchParams({ search, limit });
  return (await call(`/v1/landmarks?${query}`)).json();
}

export async function list() {
  const number = ++listing;
  try {
    const search = $("search").value;
    const { total, landmarks } = await find(search, wanted);
    if (number !== listing) return;
    const what = search.trim() ? "found" : "in the database";
    $("found").textContent = `${total.toLocaleString("en")} ${what}`;
    $("landmarks").replaceChildren(...landmarks.map(makeTile));
    $("more").hidden = total <= landmarks.length || wanted >= MOST;
  } catch (error) {
    $("found").textContent = error.message;
  }
}

function makeTile({ label, name, photos, image_id }) {
  const title = name ?? `Landmark ${label}`;
  const image = element("img", { alt: "" });
  showPicture(image, image_id);
  const text = element("span", { className: "text" }, element("b", {}, title), element("span", { className: "number" }, count(photos, "photo")));
  const button = element("button", { type: "button", className: "quiet remove", ariaLabel: `Remove ${title}`, title: "Remove" }, "Remove");
  button.addEventListener("click", async () => {
    $("confirm-title").textContent = `Remove ${title} and its ${count(photos, "photo")}?`;
    if (!(await openDialog($("confirm")))) return;
    const removed = await change("Removing…", `/v1/landmarks/${label}`, { method: "DELETE" }, () => `Removed ${title}.`);
    if (removed) $("search").focus({ preventScroll: true }); // the button goes
  });
  return element("li", { className: "tile" }, image, text, button);
}

async function change(doing, path, options, tell) {
  say(doing, { busy: true });
  try {
    const done = await (await call(path, options)).json();
    say(tell(done));
    list();
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

async function suggest() {
  const { landmarks } = await find($("add-name").value, SUGGESTED);
  const names = landmarks.filter((each) => each.name);
  $("names").replaceChildren(...names.map((each) => element("option", { value: each.name })));
}

/** Call a function when a field was changed, and no key pressed for a while. */
function whenTyped(field, act) {
  let typed;
  field.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(act, PAUSE);
  });
}

$("add-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("add-name").value.trim();
  const file = shownFile();
  const body = new FormData();
  body.append("name", name);
  body.append("photo", file, file.name || "photo");
  const tell = ({ added, known }) => (added.length ? `Added to ${added[0].name ?? name}.` : `The database has this photo already, as ${known[0]}.`);
  if (await change("Adding…", "/v1/landmarks", { method: "POST", body }, tell)) $("add").open = false;
});
whenTyped($("add-name"), () => suggest().catch(() => {})); // suggestions can be done without
whenTyped($("search"), () => {
  wanted = FEW;
  list();
});
$("more").addEventListener("click", () => {
  wanted = Math.min(wanted + MORE, MOST);
  list();
});
addEventListener("token", list);

// List the landmarks of the database, search them, add the photo that is shown, and remove some.
import { $, complain, count, element, openDialog, say } from "./elements.js";
import { call } from "./api.js";
import { shownFile } from "./questions.js";

const LISTED = 40; // landmarks

let listing = 0;
export async function list() {
  const number = ++listing;
  try {
    const query = new URLSearchParams({ search: $("search").value, limit: LISTED });
    const { total, landmarks } = await (await call(`/v1/landmarks?${query}`)).json();
    if (number !== listing) return;
    $("found").textContent = total > landmarks.length ? `${landmarks.length} of ${count(total, "landmark")}` : count(total, "landmark");
    $("landmarks").replaceChildren(...landmarks.map(listLandmark));
    $("names").replaceChildren(...landmarks.filter((each) => each.name).map((each) => element("option", { value: each.name })));
  } catch (error) {
    $("found").textContent = error.message;
  }
}

function listLandmark({ label, name, photos }) {
  const title = name ?? `Landmark ${label}`;
  const button = element("button", { type: "button", className: "quiet", ariaLabel: `Remove ${title}` }, "Remove");
  button.addEventListener("click", async () => {
    $("confirm-title").textContent = `Remove ${title}, ${count(photos, "photo")}?`;
    if (!(await openDialog($("confirm")))) return;
    const removed = await change("Removing…", `/v1/landmarks/${label}`, { method: "DELETE" }, () => `Removed ${title}.`);
    if (removed) $("search").focus({ preventScroll: true }); // the button goes
  });
  return element("li", {}, element("span", {}, title), element("span", { className: "number" }, count(photos, "photo")), button);
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

$("add-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("add-name").value.trim();
  const body = new FormData();
  body.append("name", name);
  const file = shownFile();
  body.append("photo", file, file.name || "photo");
  const tell = ({ added, known }) => (added.length ? `Added to ${added[0].name ?? name}.` : `The database has this photo already, as ${known[0]}.`);
  if (await change("Adding…", "/v1/landmarks", { method: "POST", body }, tell)) $("add").open = false;
});

let typed;
$("search").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(list, 200);
});
addEventListener("token", list);

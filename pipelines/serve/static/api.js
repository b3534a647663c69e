// Ask the JSON API of this server, with the token where there is one.
import { $, openDialog } from "./elements.js";

function keepToken(given) {
  const fits = /^[\x21-\x7e]+$/.test(given); // no header can hold another
  if (fits) sessionStorage.setItem("token", given);
  return fits;
}

export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  keepToken(given);
  history.replaceState(null, "", location.pathname);
}

async function askToken(problem) {
  do {
    $("token").value = "";
    $("token-problem").textContent = problem;
    if (!(await openDialog($("ask-token")))) throw new Error("That needs the token of the server.");
    problem = "A token has letters, digits and signs of ASCII alone, and no space.";
  } while (!keepToken($("token").value.trim()));
}

export async function call(path, options = {}) {
  for (let asked = false; ; asked = true) {
    const token = sessionStorage.getItem("token");
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("The server cannot be reached; is it still running?");
    }
    if (asked && response.status !== 401) dispatchEvent(new Event("token")); // others may ask again
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    if (response.status === 401) {
      await askToken(token ? told.error : "");
      continue;
    }
    throw new Error(told.error ?? `The server answered ${response.status}.`);
  }
}

const pictures = new Map(); // image id: URL of its thumbnail, or of the larger one
export async function picture(id, size = "small") {
  const key = `${size} ${id}`;
  if (!pictures.has(key)) {
    const response = await call(`/v1/photos/${encodeURIComponent(id)}?size=${size}`);
    pictures.set(key, URL.createObjectURL(await response.blob()));
  }
  return pictures.get(key);
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    picture(target.dataset.id)
      .then((url) => (target.src = url))
      .catch(() => {
        target.removeAttribute("src"); // for the text to be seen
        target.alt = "not there any more";
      });
  }
}, { rootMargin: "300px" });

/** Show a photo of the database in an image, once that comes near to what is seen of the page. */
export function showPicture(image, id) {
  image.src = EMPTY;
  image.dataset.id = id;
  seen.observe(image);
}

export function ask(path, entry, values = {}) {
  const query = new URLSearchParams(values);
  if (entry.box) query.set("box", entry.box.join(","));
  const body = new FormData();
  body.append("photo", entry.file, entry.file.name || "photo");
  return call(`${path}?${query}`, { method: "POST", body }).then((response) => response.json());
}

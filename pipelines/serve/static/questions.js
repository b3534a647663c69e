// Ask about photos, and keep what was asked in this session.
import { $, complain, element, say } from "./elements.js";
import { ask } from "./api.js";
import { drawRegion, showAnswer, showGallery } from "./answer.js";
import { onPart, setPhoto } from "./crop.js";

const SHOWN_SIDE = 1600; // pixels of the copy of a photo that is shown
const KEPT = 24; // photos of the session that are kept

const session = []; // what was asked, the newest first
let current = null; // that of them which is shown

async function makeEntry(file) {
  const entry = { file, box: null, url: null, width: 0, height: 0, answer: null };
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    [entry.width, entry.height] = [bitmap.width, bitmap.height];
    const scale = Math.min(1, SHOWN_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(bitmap.width * scale)),
      height: Math.max(1, Math.round(bitmap.height * scale)),
    });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const copy = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.88));
    entry.url = URL.createObjectURL(copy);
  } catch {
    // The browser cannot show it; the server says what is wrong with it.
  }
  return entry;
}

let latest = 0; // number of the last question: an older answer that comes later is not shown
async function recognize(make) {
  const number = ++latest;
  say("Looking…", { busy: true });
  try {
    const entry = await make();
    if (entry.file.size > Number(document.body.dataset.maxBytes)) {
      throw new Error("The photo has more bytes than this server takes; make it smaller.");
    }
    const { answers } = await ask("/v1/recognize", entry, { neighbors: 8 });
    entry.answer = answers[0];
    session.unshift(entry);
    session.splice(KEPT).forEach(forget);
    if (number === latest) {
      show(entry);
      bringIntoView();
      say(entry.answer.name ?? "No known landmark", { unseen: true });
    }
    showHistory();
  } catch (error) {
    if (number === latest) complain(error);
  }
}

/** Scroll to the answer, unless its beginning is seen. */
function bringIntoView() {
  const { top } = $("result").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) $("result").scrollIntoView();
}

function forget({ url }) {
  if (url && !session.some((entry) => entry.url === url)) URL.revokeObjectURL(url);
}

/** Ask about a file, if there is one. */
export function takeFile(file) {
  if (file) recognize(() => makeEntry(file));
}

onPart((box) => recognize(async () => ({ ...current, box })));

/** Return the file that is shown. */
export const shownFile = () => current.file;

function show(entry) {
  current = entry;
  document.body.classList.add("asked");
  $("result").hidden = false;
  $("figure").hidden = !entry.url;
  if (entry.url) $("shown").src = entry.url;
  $("stage").style.setProperty("--shape", entry.width / entry.height || 1); // so that it fills its place
  $("shown").alt = `The photo that was asked about, ${entry.file.name || "without a name"}`;
  setPhoto(entry);
  drawRegion(entry);
  showAnswer(entry.answer);
  showGallery(entry);
  $("add-name").value = "";
  $("add").open = false;
}

function showHistory() {
  $("session").hidden = session.length < 2; // one is shown above
  const tiles = session.map((entry) => {
    const image = entry.url ? element("img", { src: entry.url, alt: "" }) : null;
    const title = entry.answer.name ?? "No known landmark";
    const note = entry.box ? "part of the photo" : entry.file.name || "photo";
    const text = element("span", { className: "text" }, element("b", { title }, title), element("span", { className: "number", title: note }, note));
    const button = element("button", { type: "button", className: "tile" }, image, text);
    button.addEventListener("click", () => {
      show(entry);
      $("result").scrollIntoView();
      $("answer").focus({ preventScroll: true });
    });
    return element("li", {}, button);
  });
  $("history").replaceChildren(...tiles);
}

// The page asks the JSON API. Texts are put in as text, never as HTML: names come from anybody.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const SHOWN_SIDE = 1600; // pixels of the copy of a photo that is shown
const KEPT = 24; // photos of the session that are kept
const LISTED = 40; // landmarks

const session = []; // what was asked, the newest first
let current = null; // that of them which is shown

// ---- Small things

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function say(text, { busy = false, unseen = false } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("hidden", unseen); // said by screen readers alone
  $("problem").textContent = "";
  document.body.classList.toggle("busy", busy);
}

function complain(error) {
  say("");
  $("problem").textContent = error.message;
}

function percent(share) {
  if (share < 0.001) return "under 0.1 %";
  return `${(100 * Math.min(share, 0.999)).toFixed(share > 0.99 || share < 0.1 ? 1 : 0)} %`;
}
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

function bar(share) {
  const inner = element("i");
  inner.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return element("span", { className: "bar", ariaHidden: "true" }, inner);
}

// ---- The API

function keepToken(given) {
  const fits = /^[\x21-\x7e]+$/.test(given); // no header can hold another
  if (fits) sessionStorage.setItem("token", given);
  return fits;
}

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  keepToken(given);
  history.replaceState(null, "", location.pathname);
}

async function askToken(problem) {
  do {
    $("token").value = "";
    $("token-problem").textContent = problem;
    if (!(await open($("ask-token")))) throw new Error("That needs the token of the server.");
    problem = "A token has letters, digits and signs of ASCII alone, and no space.";
  } while (!keepToken($("token").value.trim()));
}

function open(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }),
  );
}

async function call(path, options = {}) {
  for (let asked = false; ; asked = true) {
    const token = sessionStorage.getItem("token");
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("The server cannot be reached; is it still running?");
    }
    if (asked && response.status !== 401) list(); // it may have been refused before
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
async function picture(id, size = "small") {
  const key = `${size} ${id}`;
  if (!pictures.has(key)) {
    const response = await call(`/v1/photos/${encodeURIComponent(id)}?size=${size}`);
    pictures.set(key, URL.createObjectURL(await response.blob()));
  }
  return pictures.get(key);
}

function ask(path, entry, values = {}) {
  const query = new URLSearchParams(values);
  if (entry.box) query.set("box", entry.box.join(","));
  const body = new FormData();
  body.append("photo", entry.file, entry.file.name || "photo");
  return call(`${path}?${query}`, { method: "POST", body }).then((response) => response.json());
}

// ---- A question

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
      say(entry.answer.name ?? "No known landmark", { unseen: true });
    }
    showHistory();
  } catch (error) {
    if (number === latest) complain(error);
  }
}

function forget({ url }) {
  if (url && !session.some((entry) => entry.url === url)) URL.revokeObjectURL(url);
}

const takeFile = (file) => file && recognize(() => makeEntry(file));
const askPart = (box) => recognize(async () => ({ ...current, box }));

// ---- The answer

function show(entry) {
  current = entry;
  document.body.classList.add("asked");
  $("result").hidden = false;
  $("figure").hidden = !entry.url;
  if (entry.url) $("shown").src = entry.url;
  $("shown").alt = `The photo that was asked about, ${entry.file.name || "without a name"}`;
  leaveCrop();
  $("whole").hidden = !entry.box;
  drawRegion(entry);
  showAnswer(entry.answer);
  showGallery(entry);
  $("add-name").value = "";
  $("add").open = false;
}

function drawRegion({ width, height, box, answer }) {
  const overlay = $("overlay");
  overlay.setAttribute("viewBox", `0 0 ${width || 1} ${height || 1}`);
  overlay.replaceChildren();
  if (box) {
    const [x, y, right, bottom] = box;
    overlay.append(drawn("rect", { x, y, width: right - x, height: bottom - y }));
  }
  if (answer.region.length) overlay.append(drawn("polygon", { points: answer.region.join(" ") }));
}

function showAnswer(answer) {
  const guess = answer.top[0];
  const known = answer.label !== null;
  const sure = guess?.probability ?? null;
  const parts = [
    element(
      "div",
      {},
      element("p", { className: known ? "kicker known" : "kicker" }, known ? "Known landmark" : "Not in the database"),
      element("h2", {}, known ? answer.name : "No known landmark"),
    ),
  ];
  if (answer.reason) parts.push(element("p", {}, `${answer.reason[0].toUpperCase()}${answer.reason.slice(1)}.`));
  if (known) {
    const text = sure === null ? `Confidence ${answer.confidence.toFixed(2)}` : `${percent(sure)} sure`;
    parts.push(element("div", { className: "sure" }, element("span", {}, text), bar(sure ?? answer.confidence)));
  }
  if (answer.latitude !== null && answer.longitude !== null) {
    const [north, east] = [answer.latitude, answer.longitude];
    const href = `https://www.openstreetmap.org/?mlat=${north}&mlon=${east}#map=16/${north}/${east}`;
    const link = { href, target: "_blank", rel: "noopener noreferrer" };
    parts.push(element("p", {}, element("a", link, `${north.toFixed(4)}, ${east.toFixed(4)} on the map`)));
  }
  const facts = Object.entries(answer.details).filter(([name]) => !["latitude", "longitude"].includes(name));
  if (facts.length) {
    const rows = facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    parts.push(element("dl", {}, ...rows));
  }
  const next = known ? answer.top.slice(1) : answer.top;
  if (next.length) parts.push(listCandidates(known ? "Next best" : "Most alike", next));
  if (answer.further.length) {
    const others = answer.further.map((each) => ({ name: each.name, probability: each.confidence, votes: 0 }));
    parts.push(listCandidates("Also in the photo", others));
  }
  if (answer.explanation) parts.push(element("p", { className: "note" }, answer.explanation));
  $("answer").replaceChildren(...parts);
}

function listCandidates(title, candidates) {
  const most = Math.max(...candidates.map((each) => each.votes), 1e-9);
  const rows = candidates.map(({ name, probability, votes }) =>
    element(
      "li",
      {},
      element("span", {}, name),
      element("span", { className: "number" }, probability === null ? votes.toFixed(2) : percent(probability)),
      bar(probability ?? votes / most),
    ),
  );
  return element("div", {}, element("h3", {}, title), element("ol", {}, ...rows));
}

function showGallery(entry) {
  const { neighbors, guess } = entry.answer;
  const tiles = neighbors.map((match) => {
    const image = element("img", { alt: "" });
    picture(match.image_id).then((url) => (image.src = url)).catch(() => (image.alt = "not there any more"));
    const compared = match.inliers === null ? "not compared" : match.verified ? `${match.inliers} matches` : "not verified";
    const facts = `similarity ${match.similarity.toFixed(2)}, ${compared}`;
    const text = element("span", { className: "text" }, element("b", {}, match.name), element("span", { className: "number" }, facts));
    const button = element("button", { type: "button", className: match.label === guess ? "" : "other" }, image, text);
    button.addEventListener("click", () => showMatch(entry, match));
    return element("li", {}, button);
  });
  $("gallery").replaceChildren(...tiles);
}

function showHistory() {
  $("session").hidden = !session.length;
  const tiles = session.map((entry) => {
    const image = entry.url ? element("img", { src: entry.url, alt: "" }) : null;
    const title = entry.answer.name ?? "No known landmark";
    const note = entry.box ? "part of the photo" : entry.file.name || "photo";
    const text = element("span", { className: "text" }, element("b", {}, title), element("span", { className: "number" }, note));
    const button = element("button", { type: "button" }, image, text);
    button.addEventListener("click", () => {
      show(entry);
      $("result").scrollIntoView();
      $("answer").focus({ preventScroll: true });
    });
    return element("li", {}, button);
  });
  $("history").replaceChildren(...tiles);
}

// ---- What matches

let comparing = 0; // number of the last comparison
async function showMatch(entry, match) {
  const number = ++comparing;
  $("match-title").textContent = match.name;
  $("match-note").textContent = "Comparing…";
  $("match-view").replaceChildren();
  $("match").showModal();
  try {
    const [found, url] = await Promise.all([
      ask("/v1/compare", entry, { image_id: match.image_id }),
      picture(match.image_id, "large"),
    ]);
    if (number !== comparing) return;
    const lines = count(found.points.length, "matching point");
    $("match-note").textContent = !found.compared
      ? "This run compares no local features."
      : found.verified
        ? `${lines}: more than chance gives. Photo ${match.image_id}.`
        : `${lines}: no more than chance gives. Photo ${match.image_id}.`;
    if (found.compared && entry.url) $("match-view").replaceChildren(drawMatch(entry, found, url));
  } catch (error) {
    if (number === comparing) $("match-note").textContent = error.message;
  }
}

function drawMatch(entry, found, url) {
  const below = matchMedia("(max-width: 46rem)").matches; // one photo above the other
  const [side, gap] = [600, 16];
  const [width, height] = found.stored_size;
  const scales = [entry, { width, height }].map((photo) => side / (below ? photo.width : photo.height));
  const sizes = [[entry.width * scales[0], entry.height * scales[0]], [width * scales[1], height * scales[1]]];
  const [dx, dy] = below ? [0, sizes[0][1] + gap] : [sizes[0][0] + gap, 0];
  const view = drawn("svg", {
    viewBox: `0 0 ${Math.max(sizes[0][0], dx + sizes[1][0])} ${Math.max(sizes[0][1], dy + sizes[1][1])}`,
    role: "img",
    "aria-label": `${count(found.points.length, "line")} between the photo and ${$("match-title").textContent}`,
  });
  view.append(drawn("image", { href: entry.url, width: sizes[0][0], height: sizes[0][1], preserveAspectRatio: "none" }));
  view.append(drawn("image", { href: url, x: dx, y: dy, width: sizes[1][0], height: sizes[1][1], preserveAspectRatio: "none" }));
  const ends = found.points.map(([x, y], at) => [
    [x * scales[0], y * scales[0]],
    [found.stored_points[at][0] * scales[1] + dx, found.stored_points[at][1] * scales[1] + dy],
  ]);
  for (const [[x1, y1], [x2, y2]] of ends) view.append(drawn("line", { x1, y1, x2, y2 }));
  for (const [cx, cy] of ends.flat()) view.append(drawn("circle", { cx, cy, r: 2.6 }));
  return view;
}

// ---- Crop: a box [left, top, right, bottom] in pixels of the photo

let box = null;
const LEAST = 16; // pixels of a side

function setBox(left, top, right, bottom) {
  const { width, height } = current;
  const fit = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
  box = [fit(Math.min(left, right), width), fit(Math.min(top, bottom), height), fit(Math.max(left, right), width), fit(Math.max(top, bottom), height)];
  Object.assign($("box").style, {
    left: `${(100 * box[0]) / width}%`,
    top: `${(100 * box[1]) / height}%`,
    width: `${(100 * (box[2] - box[0])) / width}%`,
    height: `${(100 * (box[3] - box[1])) / height}%`,
  });
  $("box").setAttribute("aria-label", `Part of the photo: ${box[2] - box[0]} by ${box[3] - box[1]} pixels, ${box[0]} from the left, ${box[1]} from the top`);
}

function enterCrop() {
  for (const id of ["box", "part", "keys"]) $(id).hidden = false;
  $("stage").classList.add("cropping");
  $("crop").setAttribute("aria-pressed", "true");
}

function leaveCrop() {
  box = null;
  for (const id of ["box", "part", "keys"]) $(id).hidden = true;
  $("stage").classList.remove("cropping");
  $("crop").setAttribute("aria-pressed", "false");
}

function place(event) {
  const shown = $("shown").getBoundingClientRect();
  return [((event.clientX - shown.left) / shown.width) * current.width, ((event.clientY - shown.top) / shown.height) * current.height];
}

let drag = null; // where it began, and the box that is moved
$("stage").addEventListener("pointerdown", (event) => {
  const touched = event.pointerType === "touch" && !box; // scrolls the page
  if (!current?.url || event.button || touched) return;
  event.preventDefault();
  drag = { from: place(event), moved: event.target === $("box") ? box : null };
  $("stage").setPointerCapture(event.pointerId);
});
$("stage").addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = place(event);
  const [fromX, fromY] = drag.from;
  if (drag.moved) return moveBox(drag.moved, x - fromX, y - fromY);
  if (Math.min(Math.abs(x - fromX), Math.abs(y - fromY)) < LEAST) return;
  enterCrop();
  setBox(fromX, fromY, x, y);
});
for (const end of ["pointerup", "pointercancel"]) $("stage").addEventListener(end, () => (drag = null));

function moveBox([left, top, right, bottom], dx, dy) {
  const x = Math.min(Math.max(dx, -left), current.width - right);
  const y = Math.min(Math.max(dy, -top), current.height - bottom);
  setBox(left + x, top + y, right + x, bottom + y);
}

$("box").addEventListener("keydown", (event) => {
  const step = Math.max(current.width, current.height) / 40;
  const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
  if (event.key === "Enter") askPart(box);
  else if (event.key === "Escape") leaveCrop(), $("crop").focus();
  else if (!dx && !dy) return;
  else if (event.shiftKey) setBox(box[0], box[1], Math.max(box[2] + dx, box[0] + LEAST), Math.max(box[3] + dy, box[1] + LEAST));
  else moveBox(box, dx, dy);
  event.preventDefault();
});
$("crop").addEventListener("click", () => {
  if (box) return leaveCrop();
  const { width, height } = current;
  enterCrop();
  setBox(0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height);
  $("box").focus();
});
$("part").addEventListener("click", () => askPart(box));
$("whole").addEventListener("click", () => askPart(null));

// ---- The database

let listing = 0;
async function list() {
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
    if (!(await open($("confirm")))) return;
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
  body.append("photo", current.file, current.file.name || "photo");
  const tell = ({ added, known }) => (added.length ? `Added to ${added[0].name ?? name}.` : `The database has this photo already, as ${known[0]}.`);
  if (await change("Adding…", "/v1/landmarks", { method: "POST", body }, tell)) $("add").open = false;
});

// ---- Ways in

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
let typed;
$("search").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(list, 200);
});
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement;
  root.dataset.theme = (root.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
});

takeToken();
list();

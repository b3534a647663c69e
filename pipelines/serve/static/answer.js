// Show an answer: the landmark and how sure that is, the region, and the photos that speak for it.
import { $, bar, drawn, element, percent } from "./elements.js";
import { showPicture } from "./api.js";
import { showMatch } from "./match.js";

export function drawRegion({ width, height, box, answer }) {
  const overlay = $("overlay");
  overlay.setAttribute("viewBox", `0 0 ${width || 1} ${height || 1}`);
  overlay.replaceChildren();
  if (box) {
    const [x, y, right, bottom] = box;
    overlay.append(drawn("rect", { x, y, width: right - x, height: bottom - y }));
  }
  if (answer.region.length) overlay.append(drawn("polygon", { points: answer.region.join(" ") }));
}

export function showAnswer(answer) {
  const known = answer.label !== null;
  const parts = [showTitle(answer, known)];
  if (answer.reason) parts.push(element("p", {}, `${answer.reason[0].toUpperCase()}${answer.reason.slice(1)}.`));
  if (known) parts.push(showConfidence(answer));
  parts.push(...showFacts(answer));
  const next = known ? answer.top.slice(1) : answer.top;
  if (next.length) parts.push(listCandidates(known ? "Next best" : "Most alike", next));
  if (answer.further.length) {
    const others = answer.further.map((each) => ({ name: each.name, probability: each.confidence, votes: 0 }));
    parts.push(listCandidates("Also in the photo", others));
  }
  if (answer.explanation) parts.push(element("p", { className: "note why" }, answer.explanation));
  $("answer").replaceChildren(...parts);
}

function showTitle(answer, known) {
  const said = known ? "Known landmark" : "Not in the database";
  const kicker = element("p", { className: known ? "kicker known" : "kicker" }, said);
  return element("div", {}, kicker, element("h2", {}, known ? answer.name : "No known landmark"));
}

function showConfidence(answer) {
  const sure = answer.top[0]?.probability ?? null;
  const text = sure === null ? `Confidence ${answer.confidence.toFixed(2)}` : `${percent(sure)} sure`;
  return element("div", { className: "sure" }, element("b", {}, text), bar(sure ?? answer.confidence));
}

/** Return what the database says of the landmark: its place, and other columns. */
function showFacts({ latitude, longitude, details }) {
  const parts = [];
  if (latitude !== null && longitude !== null) {
    const href = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=16/${latitude}/${longitude}`;
    const link = { href, target: "_blank", rel: "noopener noreferrer" };
    const text = `${latitude.toFixed(4)}, ${longitude.toFixed(4)} on the map`;
    parts.push(element("p", {}, element("a", link, text)));
  }
  const facts = Object.entries(details).filter(([name]) => !["latitude", "longitude"].includes(name));
  if (facts.length) {
    const rows = facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    parts.push(element("dl", {}, ...rows));
  }
  return parts;
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

export function showGallery(entry) {
  const { neighbors, guess, label } = entry.answer;
  $("gallery-title").textContent = label === null ? "What the database has that is most alike" : "Photos that speak for this answer";
  const tiles = neighbors.map((match) => {
    const image = element("img", { alt: "" });
    showPicture(image, match.image_id);
    const speaks = match.label === guess;
    const points = match.verified ? element("span", { className: "badge" }, `${match.inliers} points match`) : null;
    const unverified = match.inliers === null ? ", not compared" : match.verified ? "" : ", not verified";
    const facts = `similarity ${match.similarity.toFixed(2)}${unverified}`;
    const text = element("span", { className: "text" }, element("b", {}, match.name), element("span", { className: "number" }, facts));
    const button = element("button", { type: "button", className: speaks ? "tile" : "tile other" }, image, points, text);
    button.addEventListener("click", () => showMatch(entry, match));
    return element("li", {}, button);
  });
  $("gallery").replaceChildren(...tiles);
}

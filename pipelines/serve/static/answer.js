// Show an answer: the landmark and how sure that is, the region, and the photos that speak for it.
import { $, bar, drawn, element, percent } from "./elements.js";
import { picture } from "./api.js";
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

export function showGallery(entry) {
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

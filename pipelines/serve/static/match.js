// Show where a photo and a photo of the database are alike: both, and the lines between them.
import { $, count, drawn } from "./elements.js";
import { ask, picture } from "./api.js";

let comparing = 0; // number of the last comparison
export async function showMatch(entry, match) {
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
    const chance = found.verified ? "more than chance gives" : "no more than chance gives";
    $("match-note").textContent = found.compared ? `${lines}, ${chance}. Your photo, and ${match.image_id} of the database.` : "This run compares no local features.";
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

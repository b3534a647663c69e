// Choose a part of the photo that is shown: a box [left, top, right, bottom] in its pixels.
import { $ } from "./elements.js";

const LEAST = 16; // pixels of a side

let photo = null; // that is shown: its url, width and height
let box = null;
let askPart = () => {}; // of a box, or of null: the whole photo

/** Call a function with each part that is asked about. */
export function onPart(ask) {
  askPart = ask;
}

/** Begin with another photo. */
export function setPhoto(shown) {
  photo = shown;
  $("whole").hidden = !shown.box;
  leaveCrop();
}

function setBox(left, top, right, bottom) {
  const { width, height } = photo;
  const fit = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
  const [x, y] = [fit(Math.min(left, right), width), fit(Math.min(top, bottom), height)];
  box = [x, y, fit(Math.max(left, right), width), fit(Math.max(top, bottom), height)];
  const [across, down] = [box[2] - x, box[3] - y];
  Object.assign($("box").style, {
    left: `${(100 * x) / width}%`,
    top: `${(100 * y) / height}%`,
    width: `${(100 * across) / width}%`,
    height: `${(100 * down) / height}%`,
  });
  $("box").setAttribute("aria-label", `Part of the photo: ${across} by ${down} pixels, ${x} from the left, ${y} from the top`);
}

function enterCrop() {
  for (const id of ["box", "part", "keys"]) $(id).hidden = false;
  $("stage").classList.add("cropping");
  $("crop").setAttribute("aria-pressed", "true");
  $("crop").textContent = "Cancel";
}

function leaveCrop() {
  box = null;
  for (const id of ["box", "part", "keys"]) $(id).hidden = true;
  $("stage").classList.remove("cropping");
  $("crop").setAttribute("aria-pressed", "false");
  $("crop").textContent = "Choose a part";
}

function place(event) {
  const shown = $("shown").getBoundingClientRect();
  const x = ((event.clientX - shown.left) / shown.width) * photo.width;
  return [x, ((event.clientY - shown.top) / shown.height) * photo.height];
}

let drag = null; // where it began, and the box that is moved
$("stage").addEventListener("pointerdown", (event) => {
  const touched = event.pointerType === "touch" && !box; // scrolls the page
  if (!photo?.url || event.button || touched) return;
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
  const x = Math.min(Math.max(dx, -left), photo.width - right);
  const y = Math.min(Math.max(dy, -top), photo.height - bottom);
  setBox(left + x, top + y, right + x, bottom + y);
}

$("box").addEventListener("keydown", (event) => {
  const step = Math.max(photo.width, photo.height) / 40;
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
  const { width, height } = photo;
  enterCrop();
  setBox(0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height);
  $("box").focus();
});
$("part").addEventListener("click", () => askPart(box));
$("whole").addEventListener("click", () => askPart(null));

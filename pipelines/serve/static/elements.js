// Make and find parts of the page. Texts are put in as text, never as HTML: names come from anybody.
const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function say(text, { busy = false, unseen = false } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("hidden", unseen); // said by screen readers alone
  $("problem").textContent = "";
  document.body.classList.toggle("busy", busy);
}

export function complain(error) {
  say("");
  $("problem").textContent = error.message;
}

export function percent(share) {
  if (share < 0.001) return "under 0.1 %";
  return `${(100 * Math.min(share, 0.999)).toFixed(share > 0.99 || share < 0.1 ? 1 : 0)} %`;
}
export const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

export function bar(share) {
  const inner = element("i");
  inner.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return element("span", { className: "bar", ariaHidden: "true" }, inner);
}

export function openDialog(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }),
  );
}

// Saves the names that were written on the page as names.csv: group,name.
const fields = [...document.querySelectorAll("input[data-group]")];
const quote = (text) => `"${text.replaceAll('"', '""')}"`;
const name = (field) => field.value.trim();
const show = () => {
  document.getElementById("count").textContent = `${fields.filter(name).length} of ${fields.length} named`;
};
document.getElementById("save").addEventListener("click", () => {
  const rows = fields.map((field) => `${quote(field.dataset.group)},${quote(name(field))}\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["group,name\n", ...rows], { type: "text/csv" }));
  link.download = "names.csv";
  link.click();
});
fields.forEach((field) => field.addEventListener("input", show));
show();

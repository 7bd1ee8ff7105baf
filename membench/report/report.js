// Makes every heading of a table a button that sorts by its column, upwards first, then downwards.
const collator = new Intl.Collator("en", { numeric: true });

const compare = (left, right, downwards) => {
  const sign = downwards ? -1 : 1;
  const [a, b] = [left.dataset.value, right.dataset.value];
  if (a === undefined) return sign * collator.compare(left.textContent, right.textContent);
  if (a === "" || b === "") return (a === "") - (b === ""); // where there is no number, last either way
  return sign * (Number(a) < Number(b) ? -1 : Number(a) > Number(b));
};

const sortBy = (heading) => {
  const downwards = heading.ariaSort === "ascending";
  const rows = heading.closest("table").tBodies[0];
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.ariaSort = downwards ? "descending" : "ascending";
  const place = heading.cellIndex;
  rows.append(...[...rows.rows].sort((a, b) => compare(a.cells[place], b.cells[place], downwards)));
};

for (const heading of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.addEventListener("click", () => sortBy(heading));
  heading.append(button);
}

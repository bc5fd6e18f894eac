// Sorts and filters the table of all items; the page is whole without it.
(() => {
  const table = document.getElementById("all"), finder = document.getElementById("finder");
  if (!table || !finder) return;
  const body = table.tBodies[0], rows = Array.from(body.rows), heads = Array.from(table.tHead.rows[0].cells);
  const key = (row, i, by) => {
    const text = row.cells[i].textContent;
    return by === "number" ? (Number.isNaN(parseFloat(text)) ? Infinity : parseFloat(text)) : text;
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", by = head.dataset.by;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sorted = rows.map((row) => [key(row, i, by), row]);
      sorted.sort(([a], [b]) => (by === "number" ? (a === b ? 0 : a - b) : a.localeCompare(b, undefined, { numeric: true })) * (up ? 1 : -1));
      body.append(...sorted.map(([, row]) => row));
    });
  });
  const text = document.createElement("input"), choice = document.createElement("select"), told = document.createElement("span");
  text.type = "search";
  text.placeholder = "name contains";
  text.setAttribute("aria-label", "show items whose name contains");
  choice.setAttribute("aria-label", "show items with this decision");
  ["every decision", ...new Set(rows.map((row) => row.cells[1].textContent))].forEach((name) => choice.append(new Option(name)));
  const apply = () => {
    let count = 0;
    rows.forEach((row) => {
      const fits = row.cells[0].textContent.toLowerCase().includes(text.value.toLowerCase());
      row.hidden = !(fits && (choice.selectedIndex === 0 || row.cells[1].textContent === choice.value));
      count += row.hidden ? 0 : 1;
    });
    told.textContent = `${count} shown`;
    const folded = table.closest("details");
    if (folded && count < rows.length) folded.open = true;
  };
  text.addEventListener("input", apply);
  choice.addEventListener("change", apply);
  finder.append(text, choice, told);
  finder.hidden = false;
  apply();
})();

// Sorts the last body of a table by the column whose button is pressed; a second press reverses the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[table.tBodies.length - 1];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const words = head.classList.contains("word");
      const rising = now ? now === "descending" : words;
      const key = (row) => {
        const cell = row.cells[column];
        const given = cell.dataset.value ?? cell.textContent.trim();
        return words || given === "" || isNaN(given) ? String(given) : Number(given);
      };
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
      if (!rising) rows.reverse();
      body.append(...rows.map(([, row]) => row));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    });
  });
}

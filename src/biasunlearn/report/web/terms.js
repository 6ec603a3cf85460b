// A table of target terms can be searched; the search is kept in the address.
for (const area of document.querySelectorAll(".searchable")) {
  const table = area.querySelector("table");
  const part = area.closest("section").id;
  const rows = [...table.tBodies[table.tBodies.length - 1].rows];
  const texts = rows.map((row) => [...row.cells].filter((cell) => cell.classList.contains("word"))
    .map((cell) => cell.textContent).join(" ").toLowerCase());
  const field = make("input", { type: "search", autocomplete: "off" });
  const count = make("span", { role: "status", class: "count" });
  const search = (keep) => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    rows.forEach((row, place) => {
      row.hidden = !words.every((word) => texts[place].includes(word));
      left += !row.hidden;
    });
    count.textContent = `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} terms`;
    if (keep) remember(part, { q: field.value });
  };
  field.addEventListener("input", () => search(true));
  area.prepend(make("div", { class: "bar", role: "group", "aria-label": "Search target terms" },
    make("label", {}, make("span", {}, "Search in terms, bias types and subgroups"), field), count));
  const read = () => {
    const [id, values] = partOf();
    if (id === part) field.value = values.get("q") ?? "";
    search(false);
  };
  addEventListener("hashchange", read);
  read();
}

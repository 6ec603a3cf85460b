// Menus above a list of answers: verdict, bias type, changed. Without a script all answers are shown.
for (const bar of document.querySelectorAll(".filters")) {
  const menus = [...bar.querySelectorAll("select")];
  const rows = [...bar.parentElement.querySelectorAll(".answers > li")];
  bar.hidden = menus.length === 0;
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = menus.some((menu) => menu.value && !(row.dataset[menu.dataset.filter] ?? "").split("|").includes(menu.value));
      shown += !row.hidden;
    }
    bar.querySelector("output").textContent = shown + " of " + rows.length + " shown";
  };
  for (const menu of menus) menu.addEventListener("change", apply);
}

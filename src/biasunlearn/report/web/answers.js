// Written answers: a search, menus (benchmark, verdict, bias type, changed) and what is shown as CSV. The filters are kept
// in the address, as those of the pairs. Without a script all answers are shown.
for (const explorer of document.querySelectorAll(".answer-explorer")) {
  const fold = explorer.closest("details");
  const part = explorer.closest("section").id;
  const controls = Object.fromEntries([...explorer.querySelectorAll("[name]")].map((one) => [one.name, one]));
  const { q, ...menus } = controls;
  const rows = [...explorer.querySelectorAll(".answers > li")];
  const arms = explorer.querySelector("[data-arm=before]") ? ["before", "after"] : ["after"];
  const texts = new Map();
  const textOf = (row) => texts.get(row) ?? texts.set(row, row.textContent.toLowerCase()).get(row);
  const count = explorer.querySelector(".count");
  const number = (value) => value.toLocaleString("en");
  const filter = (keep) => {
    const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = Object.entries(menus).filter(([, menu]) => menu.value);
    let shown = 0, changed = 0;
    for (const row of rows) {
      row.hidden = !asked.every(([name, menu]) => row.dataset[name] === menu.value) || !words.every((word) => textOf(row).includes(word));
      shown += !row.hidden;
      changed += !row.hidden && row.dataset.changed === "yes";
    }
    count.textContent = `${number(shown)} of ${number(rows.length)} answers` +
      (arms.length > 1 && shown ? `; the verdict changed in ${number(changed)}` : "");
    if (keep) remember(part, Object.fromEntries(Object.entries(controls).map(([name, one]) => [name, one.value])));
  };
  const csv = () => {
    const named = (what) => arms.map((arm) => (arms.length > 1 ? `${what}_${arm}` : what));
    const within = (row, selector) => row.querySelector(selector)?.textContent ?? "";
    const lines = rows.filter((row) => !row.hidden).map((row) => [row.dataset.benchmark, row.dataset.item, row.dataset.type,
      [...row.querySelectorAll(".turn")].map((one) => one.textContent).join("\n"),
      ...arms.map((arm) => within(row, `[data-arm=${arm}] .said`)), ...arms.map((arm) => within(row, `[data-arm=${arm}] .written`)),
      ...(arms.length > 1 ? [row.dataset.changed] : [])]);
    const names = ["benchmark", "item", "bias_type", "asked", ...named("verdict"), ...named("answer"), ...(arms.length > 1 ? ["changed"] : [])];
    download("answers.csv", csvOf([names, ...lines]), "text/csv");
  };
  let waiting;
  q.addEventListener("input", () => (clearTimeout(waiting), (waiting = setTimeout(() => filter(true), 120))));
  for (const menu of Object.values(menus)) menu.addEventListener("change", () => filter(true));
  explorer.querySelector(".csv").addEventListener("click", csv);
  explorer.querySelector(".clear").addEventListener("click", () => {
    for (const one of Object.values(controls)) one.value = "";
    filter(true);
    q.focus();
  });
  const follow = () => {
    const [id, values] = partOf();
    if (id === part) {
      for (const [name, one] of Object.entries(controls)) one.value = values.get(name) ?? "";
      for (const menu of Object.values(menus)) if (menu.selectedIndex < 0) menu.selectedIndex = 0;
      if ([...values].length) fold.open = true;
    }
    filter(false);
  };
  addEventListener("hashchange", follow);
  follow();
}

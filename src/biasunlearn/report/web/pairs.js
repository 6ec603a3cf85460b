// All pairs: read when the part is opened, filtered in memory, and drawn a hundred at a time. The filters are kept in
// the address, so that a link shows the same pairs.
const AT_A_TIME = 100;
const [TYPE, TERM, HEAD, FIRST, SECOND, TAIL, ID, SEEN, SCORE, OTHER, SCORE_BEFORE, OTHER_BEFORE] = Array(12).keys();
const signed = (value, digits = 3) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(digits);
const plain = (value) => value.toFixed(3).replace("-", "\u2212");

for (const explorer of document.querySelectorAll(".explorer")) {
  const fold = explorer.closest("details");
  const part = explorer.closest("section").id;
  const controls = Object.fromEntries([...explorer.querySelectorAll("[name]")].map((one) => [one.name, one]));
  const list = explorer.querySelector("ol"), more = explorer.querySelector(".more"), count = explorer.querySelector(".count");
  let data, pairs, found = [], drawn = 0;

  const load = () => {
    data = JSON.parse(explorer.querySelector("script").textContent);
    pairs = data.rows.map((row, place) => {
      const margin = row[SCORE] - row[OTHER];
      const was = row.length > SCORE_BEFORE ? row[SCORE_BEFORE] - row[OTHER_BEFORE] : null;
      const side = margin > 0 ? "stereotype" : "anti";
      const moved = was === null || was > 0 === margin > 0 ? side : margin > 0 ? "joined" : "left";
      return { row, margin, was, side, moved, place, text: null };
    });
    for (const [name, values] of [["type", data.types], ["term", data.terms]]) {
      for (const value of values) controls[name].append(make("option", { value }, value));
    }
  };
  const textOf = (pair) => (pair.text ??= [data.terms[pair.row[TERM]], pair.row[HEAD] + pair.row[FIRST] + pair.row[TAIL],
    pair.row[SECOND] + pair.row[TAIL]].join("\n").toLowerCase());
  const fits = (pair, asked, words) =>
    (!asked.type || data.types[pair.row[TYPE]] === asked.type) && (!asked.term || data.terms[pair.row[TERM]] === asked.term) &&
    (!asked.seen || data.seen[pair.row[SEEN]] === asked.seen) &&
    (!asked.side || asked.side === pair.moved || (asked.side === "changed" && ["left", "joined"].includes(pair.moved))) &&
    words.every((word) => textOf(pair).includes(word));
  const orders = {
    change: (a, b) => Math.abs(b.margin - (b.was ?? b.margin)) - Math.abs(a.margin - (a.was ?? a.margin)),
    stereotype: (a, b) => b.margin - a.margin,
    anti: (a, b) => a.margin - b.margin,
    term: (a, b) => a.row[TYPE] - b.row[TYPE] || a.row[TERM] - b.row[TERM],
  };
  const asked = () => Object.fromEntries(Object.entries(controls).map(([name, one]) => [name, one.value]));

  const sentence = (role, row, words, score, was) => make("p", {},
    make("span", { class: "role" }, role), make("bdi", {}, row[HEAD], make("mark", {}, words), row[TAIL]), " ",
    make("span", { class: "score" }, was === undefined ? plain(score) : `${plain(was)} \u2192 ${plain(score)}`));
  const SIDES = { left: "changed side: now the anti-stereotype", joined: "changed side: now the stereotype",
    stereotype: "the stereotype is more likely", anti: "the anti-stereotype is more likely" };
  const drawPair = ({ row, margin, was, moved, place }) => {
    const group = data.group.length ? data.group[place] : [null, null];
    const parts = [`margin ${was === null ? "" : signed(was) + " \u2192 "}${signed(margin)}`];
    if (group[0] !== null) parts.push(`group part ${group[1] === null ? "" : signed(group[1]) + " \u2192 "}${signed(group[0])}`);
    if (row[SEEN]) parts.push({ both: "both wordings seen in training", one: "one wording seen in training",
      neither: "wording not seen in training" }[data.seen[row[SEEN]]]);
    return make("li", { class: moved },
      make("p", { class: "about" }, make("bdi", {}, data.types[row[TYPE]]), ", ", make("bdi", {}, data.terms[row[TERM]]),
        make("span", { class: "side" }, SIDES[moved])),
      sentence("stereotype", row, row[FIRST], row[SCORE], row[SCORE_BEFORE]),
      sentence("anti-stereotype", row, row[SECOND], row[OTHER], row[OTHER_BEFORE]),
      make("p", { class: "lean" }, parts.join("; ")));
  };
  const draw = () => {
    list.append(...found.slice(drawn, drawn + AT_A_TIME).map(drawPair));
    drawn = Math.min(found.length, drawn + AT_A_TIME);
    more.hidden = drawn >= found.length;
    more.textContent = `Show more (${drawn.toLocaleString("en")} of ${found.length.toLocaleString("en")} are shown)`;
  };
  const filter = (keep) => {
    const now = asked();
    const words = now.q.toLowerCase().split(/\s+/).filter(Boolean);
    found = pairs.filter((pair) => fits(pair, now, words)).sort(orders[now.order]);
    const moved = found.filter((pair) => ["left", "joined"].includes(pair.moved)).length;
    const prefers = found.filter((pair) => pair.margin > 0).length;
    count.textContent = `${found.length.toLocaleString("en")} of ${pairs.length.toLocaleString("en")} pairs` +
      (found.length ? `; the stereotype is more likely in ${Math.round((100 * prefers) / found.length)} %` : "") +
      (pairs[0]?.was === null || !found.length ? "" : `; ${moved.toLocaleString("en")} changed side`);
    list.replaceChildren();
    drawn = 0;
    draw();
    if (keep) remember(part, { ...now, order: controls.order.selectedIndex ? now.order : "" });
  };
  const start = () => {
    if (!data) load();
    const [id, values] = partOf();
    if (id === part) for (const [name, one] of Object.entries(controls)) if (values.has(name)) one.value = values.get(name);
    for (const one of Object.values(controls)) if (one.tagName === "SELECT" && one.selectedIndex < 0) one.selectedIndex = 0;
    filter(false);
  };
  const csv = () => {
    const both = pairs[0]?.was !== null;
    const names = ["id", "bias_type", "target_term", "stereotype", "anti_stereotype", "wording_seen", "score_stereotype",
      "score_anti_stereotype", "margin", "group_part"];
    const before = both ? ["score_stereotype_before", "score_anti_stereotype_before", "margin_before", "group_part_before"] : [];
    const rows = found.map(({ row, margin, was, place }) => [row[ID], data.types[row[TYPE]], data.terms[row[TERM]],
      row[HEAD] + row[FIRST] + row[TAIL], row[HEAD] + row[SECOND] + row[TAIL], data.seen[row[SEEN]], row[SCORE], row[OTHER],
      Math.round(margin * 1e4) / 1e4, data.group[place]?.[0] ?? "",
      ...(both ? [row[SCORE_BEFORE], row[OTHER_BEFORE], was === null ? "" : Math.round(was * 1e4) / 1e4, data.group[place]?.[1] ?? ""] : [])]);
    download("pairs.csv", csvOf([[...names, ...before], ...rows]), "text/csv");
  };

  fold.addEventListener("toggle", () => fold.open && !data && start());
  let waiting;
  controls.q.addEventListener("input", () => (clearTimeout(waiting), (waiting = setTimeout(() => filter(true), 120))));
  for (const one of Object.values(controls)) if (one.tagName === "SELECT") one.addEventListener("change", () => filter(true));
  more.addEventListener("click", () => {
    const next = drawn;
    draw();
    if (more.hidden) list.children[next]?.scrollIntoView({ block: "nearest" });
  });
  explorer.querySelector(".csv").addEventListener("click", csv);
  explorer.querySelector(".clear").addEventListener("click", () => {
    for (const one of Object.values(controls)) one.tagName === "SELECT" ? (one.selectedIndex = 0) : (one.value = "");
    filter(true);
    controls.q.focus();
  });
  const follow = () => {
    const [id, values] = partOf();
    if (id !== part || ![...values].length) return;
    fold.open = true;
    start();
  };
  addEventListener("hashchange", follow);
  follow();
}

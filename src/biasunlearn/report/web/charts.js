// Charts: the values of the nearest mark on hover, the same with arrow keys, and downloads as SVG, PNG and CSV.
const bubble = make("div", { class: "bubble", role: "status", hidden: "" });
document.body.append(bubble);
const SVG = "http://www.w3.org/2000/svg";
const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap",
  "stroke-linejoin", "font-size", "font-family", "font-weight", "text-anchor", "opacity", "paint-order"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A copy of a picture that needs no style sheet.
const standalone = (picture) => {
  picture.querySelector(".cursor")?.remove();
  const copy = picture.cloneNode(true);
  const theirs = [...copy.querySelectorAll("*")];
  [...picture.querySelectorAll("*")].forEach((element, place) => {
    const style = getComputedStyle(element);
    for (const name of DRAWN) theirs[place].setAttribute(name, style.getPropertyValue(name));
    theirs[place].removeAttribute("class");
  });
  copy.setAttribute("xmlns", SVG);
  return copy;
};
const framed = (width, height, ...parts) => {
  const whole = document.createElementNS(SVG, "svg");
  const ground = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` })) {
    whole.setAttribute(key, value);
  }
  for (const [key, value] of Object.entries({ width, height, fill: colour("--paper") })) ground.setAttribute(key, value);
  whole.append(ground, ...parts);
  return whole;
};
const nested = (picture, x, y, width, height) => {
  const copy = standalone(picture);
  for (const name of ["class", "role", "aria-label", "style"]) copy.removeAttribute(name);
  for (const [key, value] of Object.entries({ x, y, width, height, overflow: "visible" })) copy.setAttribute(key, value);
  return copy;
};
const textAt = (string, x, y, size, ink) => {
  const text = document.createElementNS(SVG, "text");
  for (const [key, value] of Object.entries({ x, y, "font-size": size, "font-family": "sans-serif", fill: ink })) {
    text.setAttribute(key, value);
  }
  text.textContent = string;
  return text;
};
const savePicture = (name, svg, kind) => {
  const source = new XMLSerializer().serializeToString(svg);
  if (kind === "svg") return download(name + ".svg", source, "image/svg+xml");
  const image = new Image();
  image.onload = () => {
    const canvas = make("canvas", { width: 2 * image.width, height: 2 * image.height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((content) => download(name + ".png", content, "image/png"));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(source);
};
const tools = (what, draw, rows, name) =>
  make("div", { class: "tools", role: "group", "aria-label": `Download ${what}` },
    button("SVG", () => savePicture(name, draw(), "svg")), button("PNG", () => savePicture(name, draw(), "png")),
    button("CSV", () => download(name + ".csv", csvOf(rows()), "text/csv")));

const shown = (value) => (typeof value === "number" ? String(Math.round(value * 1000) / 1000).replace("-", "\u2212") : value);
for (const chart of document.querySelectorAll(".chart")) {
  const picture = chart.querySelector("svg");
  const { name, columns, rows, at } = JSON.parse(chart.querySelector("script").textContent);
  const label = picture.getAttribute("aria-label");
  const plot = make("div", { class: "plot", tabindex: "0", role: "application", "aria-roledescription": "chart",
    "aria-label": `${label} Arrow keys go from mark to mark.` });
  picture.before(plot);
  plot.append(picture);
  picture.setAttribute("aria-hidden", "true");
  const title = chart.closest("figure")?.querySelector("figcaption > :first-child")?.textContent ?? name;
  chart.append(tools(title, () => {
    const { width, height } = picture.viewBox.baseVal;
    const heading = textAt(title, 8, 18, 13, colour("--ink"));
    return framed(width + 16, height + 34, heading, nested(picture, 8, 28, width, height));
  }, () => [columns, ...rows], name));
  const order = at.map((_, place) => place).sort((a, b) => at[a][0] - at[b][0] || at[a][1] - at[b][1]);
  let current = -1;
  const show = (place) => {
    current = place;
    picture.querySelector(".cursor")?.remove();
    bubble.hidden = place < 0;
    if (place < 0) return;
    const ring = document.createElementNS(SVG, "circle");
    for (const [key, value] of Object.entries({ cx: at[place][0], cy: at[place][1], r: 8, class: "cursor" })) {
      ring.setAttribute(key, value);
    }
    picture.append(ring);
    const [first, ...rest] = rows[place];
    const values = rest.map((value, n) => [columns[n + 1], value]).filter(([, value]) => value !== null && value !== "");
    bubble.replaceChildren(make("b", {}, columns[0] === "step" ? `step ${shown(first)}` : String(shown(first) ?? "")),
      ...values.map(([key, value]) => make("span", {}, ` ${key} ${shown(value)}`)));
    const box = ring.getBoundingClientRect();
    const room = document.documentElement.clientWidth - bubble.offsetWidth - 8;
    bubble.style.left = `${scrollX + Math.max(8, Math.min(box.left + box.width / 2 - bubble.offsetWidth / 2, room))}px`;
    const above = box.top - bubble.offsetHeight - 6;
    bubble.style.top = `${scrollY + (above > 0 ? above : box.bottom + 6)}px`;
  };
  plot.addEventListener("pointermove", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    let near = -1, least = 24 * 24;
    at.forEach(([x, y], place) => {
      const apart = (x - point.x) ** 2 + (y - point.y) ** 2;
      if (apart < least) [near, least] = [place, apart];
    });
    show(near);
  });
  plot.addEventListener("pointerleave", () => show(-1));
  plot.addEventListener("blur", () => show(-1));
  plot.addEventListener("focus", () => at.length && plot.matches(":focus-visible") && show(order[0]));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const place = order.indexOf(current);
    if (event.key === "Escape") show(-1);
    else if (event.key === "Home") show(order[0]);
    else if (event.key === "End") show(order[order.length - 1]);
    else if (step) show(order[Math.max(0, Math.min(order.length - 1, place + step))]);
    else return;
    event.preventDefault();
  });
}

// A table with pictures in it is a chart, too: its rows as they are shown now.
for (const table of document.querySelectorAll("table.lanes")) {
  const name = table.caption.textContent;
  const bodies = () => [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.hidden);
  const draw = () => {
    const box = table.getBoundingClientRect();
    const parts = [];
    const texts = document.createTreeWalker(table, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode;
      const range = document.createRange();
      range.selectNode(node);
      const at = range.getBoundingClientRect();
      if (!at.width || !node.textContent.trim() || node.parentElement.closest("caption, svg, tr[hidden]")) continue;
      const style = getComputedStyle(node.parentElement);
      const size = parseFloat(style.fontSize);
      parts.push(textAt(node.textContent, at.left - box.left + 8, at.top - box.top + at.height / 2 + size * 0.35 + 8, size, style.color));
    }
    for (const svg of table.querySelectorAll("svg")) {
      const at = svg.getBoundingClientRect();
      if (at.width) parts.push(nested(svg, at.left - box.left + 8, at.top - box.top + 8, at.width, at.height));
    }
    return framed(Math.ceil(box.width) + 16, Math.ceil(box.height) + 16, ...parts);
  };
  const cells = (row) => [...row.cells].filter((cell) => !cell.classList.contains("picture"));
  const rows = () => [[...cells(table.tHead.rows[0])].map((cell) => cell.textContent.trim()),
    ...bodies().map((row) => cells(row).map((cell) => cell.textContent.replace(/\s+/g, " ").trim()))];
  table.parentElement.after(tools(name, draw, rows, name));
}

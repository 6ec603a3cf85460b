// What the other scripts share: files to download, and the state of a part in the fragment of the address.
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const button = (label, act, attributes = {}) => {
  const made = make("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", act);
  return made;
};
const download = (name, content, type) => {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = make("a", { href: address, download: name.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};
// A text that a spreadsheet would run as a formula gets an apostrophe; numbers stay numbers.
const cellOf = (value) => {
  if (typeof value === "number") return String(value);
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) && isNaN(text) ? "'" + text : text;
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
};
const csvOf = (rows) => "\ufeff" + rows.map((row) => row.map(cellOf).join(",") + "\r\n").join("");
// #part?key=value: the part that is linked to, and its filters.
const partOf = () => {
  const [part, query = ""] = location.hash.slice(1).split("?");
  return [part, new URLSearchParams(query)];
};
const remember = (part, values) => {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  history.replaceState(null, "", "#" + part + (query ? "?" + query : ""));
};

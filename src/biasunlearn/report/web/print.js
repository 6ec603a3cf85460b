// In print all folded parts are open, except those that quote stereotypes.
const opened = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open]):not(.notice)")) {
    part.open = true;
    opened.push(part);
  }
});
addEventListener("afterprint", () => {
  for (const part of opened.splice(0)) part.open = false;
});
// A link leads into folded parts as well.
const openTarget = () => {
  const target = document.getElementById(partOf()[0]);
  for (let part = target?.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  if (target && location.hash.includes("?")) target.scrollIntoView();
};
addEventListener("hashchange", openTarget);
openTarget();

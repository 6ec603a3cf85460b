// Explanations open on hover and on focus (style.css); Escape shuts the one that is open, and they stay inside the window.
for (const term of document.querySelectorAll(".term")) {
  const tip = term.querySelector("[role=tooltip]");
  const place = () => {
    term.classList.remove("shut");
    tip.style.translate = "";
    const { left, right } = tip.getBoundingClientRect();
    const edge = document.documentElement.clientWidth - 8;
    if (right > edge) tip.style.translate = `${edge - right}px 0`;
    else if (left < 8) tip.style.translate = `${8 - left}px 0`;
  };
  term.addEventListener("pointerenter", place);
  term.addEventListener("focusin", place);
}
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const term of document.querySelectorAll(".term:hover, .term:focus-within")) term.classList.add("shut");
});

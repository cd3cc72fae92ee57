// A button beside each text that is made to be copied, and a slider between before and after.
// Everything else works without a script.
"use strict";

for (const text of document.querySelectorAll("pre.copied")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy quiet";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  text.after(button);
}

function compare(before, after) {
  const box = document.createElement("div");
  box.className = "compare";
  const slider = document.createElement("input");
  slider.type = "range";
  slider.value = 50;
  slider.setAttribute("aria-label", "How much of the picture before is shown");
  const move = () => box.style.setProperty("--part", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();
  before.className = "before";
  box.append(after, before, slider);
  return box;
}

for (const box of document.querySelectorAll("[data-compare]")) {
  box.replaceWith(compare(...box.querySelectorAll("img")));
}

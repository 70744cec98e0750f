"use strict";
document.documentElement.classList.add("script");

/* On a phone the details under the verdict wait to be asked for; on paper all that is folded is there. */
for (const details of document.querySelectorAll("details")) {
  if (details.matches(".details")) details.open = !window.matchMedia("screen and (max-width: 599px)").matches;
  window.addEventListener("beforeprint", () => { details.open = true; });
}
const unfold = () => {
  const folded = document.getElementById(location.hash.slice(1))?.closest("details");
  if (folded) folded.open = true;
};
window.addEventListener("hashchange", unfold);
unfold();

/* Sliders: a share of the one picture over the other, at whole-number zoom so that no pixel is invented. */
for (const figure of document.querySelectorAll(".slider")) {
  const box = figure.querySelector(".scroll"), stage = figure.querySelector(".stage");
  const range = figure.querySelector("input"), shown = figure.querySelector("output");
  const sides = [...figure.querySelectorAll(".side")], first = sides.filter((side) => !side.hidden);
  const chosen = { view: "0", after: first.find((side) => side.classList.contains("after")).dataset.name };
  chosen.before = (first.find((side) => side.dataset.name !== chosen.after) || first[0]).dataset.name;
  const side = (kind) => sides.find(({ dataset }) => dataset.view === chosen.view && dataset.name === chosen[kind]);
  const named = (kind) => side(kind).querySelector(".tag").textContent;
  const fitting = () => {
    const width = Number(side("before").style.getPropertyValue("--width"));
    return Math.max(1, Math.floor(Math.min(box.clientWidth, 640) / width));
  };
  let zoom = fitting();
  const move = () => {
    stage.style.setProperty("--at", range.value + "%");
    range.setAttribute("aria-valuetext", `${range.value} % ${named("before")}, ${100 - range.value} % ${named("after")}`);
  };
  const enlarge = (step) => {
    zoom = Math.min(8, Math.max(1, zoom + step));
    figure.style.setProperty("--zoom", zoom);
    shown.textContent = zoom + "×";
  };
  const choose = () => {
    const [before, after] = [side("before"), side("after")];
    for (const one of sides) {
      one.hidden = one !== before && one !== after;
      one.classList.toggle("after", one === after && one !== before);
    }
    for (const length of ["--width", "--height"]) {
      figure.style.setProperty(length, before.style.getPropertyValue(length));
    }
    move();
  };
  for (const select of figure.querySelectorAll("select")) {
    chosen[select.dataset.kind] = select.value;  // a browser keeps what was chosen before the page was loaded again
    select.addEventListener("change", () => {
      const width = figure.style.getPropertyValue("--width");
      chosen[select.dataset.kind] = select.value;
      choose();
      if (width !== figure.style.getPropertyValue("--width")) zoom = fitting();
      enlarge(0);
    });
  }
  const follow = (event) => {
    const area = stage.getBoundingClientRect();
    range.value = Math.round(100 * (event.clientX - area.left) / area.width);
    move();
  };
  range.addEventListener("input", move);
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); follow(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  for (const button of figure.querySelectorAll("button")) {
    button.addEventListener("click", () => enlarge(Number(button.value)));
  }
  choose();
  enlarge(0);
}

/* Tables: by a column's numbers or words, cells without a value last. */
const number = (cell) => {
  if (/^(lossless|\+?inf|∞)$/i.test(cell)) return Infinity;
  return parseFloat(cell.replace("\u2212", "-").replace(/^[<>≤≥=~±[(+\s]+/, "").replace(/(\d),(?=\d{3})/g, "$1"));
};
for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button"), numeric = head.classList.contains("number");
    button.type = "button";
    button.setAttribute("aria-label", "Sort by " + head.textContent);
    head.append(button);
    head.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const key = (row) => row.cells[column].textContent.trim();
      const compare = (one, other) => {
        if (!numeric) return sign * key(one).localeCompare(key(other), "en", { numeric: true });
        const [a, b] = [number(key(one)), number(key(other))];
        if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
        return a === b ? 0 : sign * (a < b ? -1 : 1);
      };
      body.append(...[...body.rows].sort(compare));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    });
  });
}

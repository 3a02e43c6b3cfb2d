"use strict";
// Adds to a page what needs hovering and searching; all else is in the page already.

// Charts: a line at the pointer, and the values there. Arrow keys move it too.
for (const figure of document.querySelectorAll(".chart")) {
  const svg = figure.querySelector(".plot>svg");
  const lines = [...svg.querySelectorAll(".trace")].map((path) => ({
    name: path.dataset.name,
    x: path.dataset.x.split(" ").map(Number),
    texts: path.dataset.texts.split(";"),
  }));
  const every = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const tip = document.createElement("div");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("y1", svg.dataset.top);
  cursor.setAttribute("y2", svg.dataset.base);
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  cursor.setAttribute("visibility", "hidden");
  svg.append(cursor);
  figure.querySelector(".plot").append(tip);
  let at = every.length - 1;
  const nearest = (xs, x) =>
    xs.reduce((best, one, i) => (Math.abs(one - x) < Math.abs(xs[best] - x) ? i : best), 0);
  const show = (index) => {
    at = Math.max(0, Math.min(every.length - 1, index));
    const x = every[at];
    tip.replaceChildren();
    lines.forEach((line, i) => {
      const [across, value] = line.texts[nearest(line.x, x)].split("|");
      if (!i) {
        tip.append(`${across} ${svg.dataset.unit}`);
      }
      const bold = document.createElement("b");
      bold.textContent = value;
      tip.append(document.createElement("br"), `${line.name} `, bold);
    });
    tip.hidden = false;
    cursor.setAttribute("visibility", "visible");
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const box = svg.getBoundingClientRect();
    const left = (x / svg.viewBox.baseVal.width) * box.width;
    const beside = left + 12 + tip.offsetWidth > box.width ? left - 12 - tip.offsetWidth : left + 12;
    tip.style.left = `${Math.max(0, beside)}px`;
  };
  const hide = () => {
    tip.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  };
  svg.tabIndex = 0;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(nearest(every, ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("focus", () => show(at));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -every.length, End: every.length }[event.key];
    if (step) {
      event.preventDefault();
      show(at + step);
    } else if (event.key === "Escape") {
      hide();
    }
  });
}

// A field above a list: only what holds its text is shown.
for (const field of document.querySelectorAll(".filter")) {
  const rows = [...document.getElementById(field.dataset.rows).children];
  const said = document.getElementById(field.getAttribute("aria-describedby"));
  const texts = rows.map((row) => row.textContent.toLowerCase());
  field.hidden = false;
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, at) => {
      row.hidden = !texts[at].includes(wanted);
      shown += !row.hidden;
    });
    said.textContent = wanted ? `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "";
  });
}

// Icicles: what is at the pointer is written below; a click or Enter enlarges it.
for (const figure of document.querySelectorAll(".icicle")) {
  const svg = figure.querySelector("svg");
  const said = figure.querySelector(".note");
  const usual = said.textContent;
  const nodes = [...svg.querySelectorAll(".node")].map((element) => ({
    element,
    x: parseFloat(element.getAttribute("x")),
    width: parseFloat(element.getAttribute("width")),
    y: Number(element.getAttribute("y")),
    texts: [...element.querySelectorAll("text")].map((text) => [text, text.textContent]),
  }));
  let at = -1;
  let enlarged = null;
  const say = (index) => {
    nodes.forEach((node, i) => node.element.classList.toggle("current", i === index));
    said.textContent = index < 0 ? usual : nodes[index].element.dataset.path;
    at = index;
  };
  // As much of a name as the rectangle has room for.
  const fit = (text, name, room) => {
    text.textContent = name;
    const length = text.getComputedTextLength();
    const letters = Math.floor((name.length * room) / Math.max(length, 1));
    if (length > room) {
      text.textContent = letters > 4 ? `${name.slice(0, letters - 1)}…` : "";
    }
  };
  const enlarge = (chosen) => {
    enlarged = chosen;
    const [start, width] = chosen ? [chosen.x, chosen.width] : [0, 100];
    for (const node of nodes) {
      const left = Math.max(0, ((node.x - start) / width) * 100);
      const right = Math.min(100, ((node.x + node.width - start) / width) * 100);
      node.element.setAttribute("visibility", right - left > 0.05 ? "visible" : "hidden");
      node.element.setAttribute("x", `${left}%`);
      node.element.setAttribute("width", `${Math.max(0, right - left)}%`);
      for (const [text, before] of node.texts) {
        text.textContent = before;
        if (chosen) {
          fit(text, node.element.dataset.name, ((right - left) / 100) * svg.clientWidth - 12);
        }
      }
    }
  };
  const toggle = (index) => enlarge(nodes[index] === enlarged ? null : nodes[index]);
  nodes.forEach((node, index) => {
    node.element.querySelector("title").remove();
    node.element.addEventListener("pointerenter", () => say(index));
    node.element.addEventListener("click", () => toggle(index));
  });
  svg.tabIndex = 0;
  svg.addEventListener("pointerleave", () => say(-1));
  svg.addEventListener("blur", () => say(-1));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (step) {
      say(Math.max(0, Math.min(nodes.length - 1, at + step)));
    } else if (event.key === "Enter" && at >= 0) {
      toggle(at);
    } else if (event.key === "Escape") {
      enlarge(null);
      say(-1);
    } else {
      return;
    }
    event.preventDefault();
  });
}

// Photos -> cards with their answers. Everything is text: nothing is parsed as markup.
"use strict";

const at = (id) => document.getElementById(id);
const cards = []; // {file, card, body, answers}
const chosen = new Map(); // Kinds that may be answered: id -> name.
let model = null;

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;
const first = (name) => name.split(",")[0];
const count = (n, noun) => {
  const several = noun.endsWith("s") ? `${noun}es` : `${noun}s`;
  return `${n.toLocaleString("en")} ${n === 1 ? noun : several}`;
};

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    return { status: 0, body: { error: "it cannot be read, or the server was stopped" } };
  }
  const body = await response.json().catch(() => ({ error: "no answer" }));
  return { status: response.status, body };
}

function query() {
  const given = new URLSearchParams();
  if (at("list").value) given.set("classes", at("list").value);
  if (chosen.size) given.set("under", [...chosen.keys()].join(","));
  const text = given.toString();
  return text ? `?${text}` : "";
}

// One answer, as specific as the slider allows.

const accuracies = () =>
  query() ? [] : Object.keys(model.lambdas).sort((a, b) => a - b);

function limit() {
  const known = accuracies();
  const value = Number(at("sure").value);
  return known.length ? { accuracy: known[value] } : { probability: value / 100 };
}

function hedged(steps) {
  const { accuracy, probability } = limit();
  if (accuracy !== undefined) {
    const lambda = model.lambdas[accuracy];
    return steps.filter(({ least_lambda: least }) => least !== null && least <= lambda).at(-1);
  }
  // A sum of thousands of classes may end a little below 1.
  return steps.find((step) => step.probability >= probability - 1e-4) ?? steps.at(-1);
}

function setSlider() {
  const known = accuracies();
  const slider = at("sure");
  const kind = known.length ? "accuracies" : "probability";
  if (slider.dataset.kind === kind) return;
  slider.dataset.kind = kind;
  slider.min = 0;
  slider.max = known.length ? known.length - 1 : 99;
  slider.value = known.length ? Math.max(0, known.indexOf("0.9")) : 80;
}

function showSlider() {
  const { accuracy, probability } = limit();
  const text =
    accuracy !== undefined
      ? `right for ${Number((100 * accuracy).toFixed(4))} % of photos (calibrated)`
      : `at least ${Math.round(100 * probability)} % likely`;
  at("sure").setAttribute("aria-valuetext", text);
  at("sure-text").textContent = `As specific as it can be, and ${text}`;
}

// Cards.

function bars(rows) {
  const list = make("ul", "bars");
  for (const { name, probability } of rows) {
    const bar = make("i");
    bar.style.setProperty("--p", `${100 * probability}%`);
    const item = make("li", "", make("span", "", name), make("span", "", percent(probability)), bar);
    list.append(item);
  }
  return list;
}

function branches(nodes) {
  return nodes.map((node) => {
    if (!node.below.length) return make("p", "", node.text);
    const opened = make("details", "", make("summary", "", node.text), ...branches(node.below));
    opened.open = node.is_open;
    return opened;
  });
}

function fill(entry) {
  const { body, answers } = entry;
  if (!answers) return;
  const open = body.querySelector("details.all")?.open ?? false;
  body.replaceChildren();
  if (answers.reason) {
    const reason = make("p", "reason", make("strong", "", "No answer: "), answers.reason);
    body.append(reason);
    return;
  }
  const headline = make("p", "hedged", make("strong"), make("span", "quiet"));
  body.append(headline);
  const kinds = make("div", "kinds");
  const add = (title, rows) => rows && kinds.append(make("div", "", make("h3", "", title), bars(rows)));
  add("Most likely classes", answers.flat);
  add("Different things", answers.diverse);
  body.append(kinds);
  if (answers.none !== null) {
    body.append(make("p", "quiet", `None of these, with all classes allowed: ${percent(answers.none)}`));
  }
  if (answers.tree) {
    const tree = make("div", "tree", ...branches(answers.tree));
    const details = make("details", "all", make("summary", "", "Tree"), tree);
    details.open = open;
    body.append(details);
  }
  headlineOf(entry);
}

function headlineOf({ body, answers }) {
  const headline = body.querySelector(".hedged");
  if (!headline) return;
  const best = answers.hedged ? hedged(answers.hedged) : answers.flat[0];
  const rest = first(best.name) === best.name ? "" : ` · ${best.name}`;
  const share = percent(best.probability) + rest;
  const isOther = answers.none !== null && answers.none > 0.5;
  headline.firstChild.textContent = isOther ? "Probably none of these" : first(best.name);
  headline.lastChild.textContent = isOther
    ? `${percent(answers.none)} is something else; if not, ${first(best.name)}: ${share}`
    : share;
}

function wait(entry) {
  entry.body.replaceChildren(make("p", "wait", "Looking …"));
}

async function classify(entry) {
  if (entry.file.size > model.limits.photo_bytes) {
    const most = Math.floor(model.limits.photo_bytes / 2 ** 20);
    entry.answers = { reason: `it has more than ${most} MiB` };
  } else {
    const headers = { "content-type": "application/octet-stream" };
    const sent = { method: "POST", headers, body: entry.file };
    const { body } = await ask(`/api/predict${query()}`, sent);
    entry.answers = body.photos?.[0] ?? { reason: body.error };
  }
  fill(entry);
}

async function add(files) {
  const entries = [...files].map((file) => {
    const name = file.name || "pasted photo";
    const picture = make("img");
    picture.alt = name;
    picture.src = URL.createObjectURL(file);
    // Of some kinds the browser shows nothing, and the model sees them all the same.
    picture.addEventListener("error", () => picture.remove());
    const body = make("div", "answers");
    const card = make("section", "photo", make("div", "", picture, make("h2", "", name)), body);
    return { file, card, body, answers: null };
  });
  if (!entries.length) return;
  at("photos").prepend(...entries.map((entry) => entry.card));
  cards.unshift(...entries);
  at("drop").classList.add("small");
  at("options").hidden = false;
  entries.forEach(wait);
  let done = 0;
  for (const entry of entries) {
    at("status").textContent = `${done} of ${count(entries.length, "photo")} …`;
    await classify(entry);
    done += 1;
  }
  const bad = entries.filter((entry) => entry.answers.reason).length;
  at("status").textContent =
    `${count(entries.length - bad, "photo")} answered` + (bad ? `, ${bad} without an answer` : "");
}

let round = 0;

async function again() {
  setSlider();
  showSlider();
  const mine = ++round; // A later choice makes this one void.
  for (const entry of cards) {
    if (!entry.answers?.id) continue;
    const { status, body } = await ask(`/api/photos/${entry.answers.id}${query()}`);
    if (mine !== round) return;
    if (status === 404) await classify(entry);
    else if (status === 200) {
      entry.answers = body;
      fill(entry);
    } else at("status").textContent = body.error;
  }
}

// Kinds.

let typed = 0;

async function search() {
  const mine = ++typed;
  const text = at("search").value.trim();
  const found = at("found");
  if (!text) {
    found.replaceChildren();
    at("found-text").textContent = "";
    return;
  }
  const { body } = await ask(`/api/classes?limit=8&q=${encodeURIComponent(text)}`);
  if (mine !== typed) return;
  const rows = body.classes ?? [];
  at("found-text").textContent = body.error ?? (rows.length ? "" : "No class has this name.");
  found.replaceChildren(
    ...rows.map(({ synset, name, classes }) => {
      const button = make("button", "", name, " ", make("span", "quiet", count(classes, "class")));
      button.type = "button";
      button.addEventListener("click", () => choose(synset, name));
      return make("li", "", button);
    }),
  );
}

function choose(synset, name) {
  chosen.set(synset, name);
  at("search").value = "";
  search();
  at("search").focus();
  showChosen();
}

function showChosen() {
  at("chosen").replaceChildren(
    ...[...chosen].map(([synset, name]) => {
      const button = make("button", "", first(name));
      button.type = "button";
      button.setAttribute("aria-label", `Remove ${first(name)}`);
      button.addEventListener("click", () => {
        chosen.delete(synset);
        showChosen();
        at("search").focus();
      });
      return make("li", "", button);
    }),
  );
  again();
}

async function start() {
  const { status, body } = await ask("/api/model");
  if (status !== 200) {
    at("status").textContent = body.error;
    return;
  }
  model = body;
  at("model").textContent = `${model.model} · ${count(model.classes, "class")}`;
  const all = make("option", "", `all ${count(model.classes, "class")}`);
  all.value = "";
  at("list").append(
    all,
    ...Object.entries(model.class_lists).map(([name, classes]) => {
      const option = make("option", "", `${name} (${count(classes, "class")})`);
      option.value = name;
      return option;
    }),
  );
  at("lists").hidden = !Object.keys(model.class_lists).length;
  at("kinds").hidden = !model.has_hierarchy;
  at("sure").closest(".field").hidden = !model.has_hierarchy;
  setSlider();
  showSlider();

  const files = at("files");
  files.addEventListener("change", () => add(files.files).then(() => (files.value = "")));
  const drop = at("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData.files));
  at("sure").addEventListener("input", () => {
    showSlider();
    cards.forEach(headlineOf);
  });
  at("list").addEventListener("change", again);
  at("search").addEventListener("input", search);
  document.body.dataset.ready = "";
}

start();

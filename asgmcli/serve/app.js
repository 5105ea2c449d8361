"use strict";
const byId = (id) => document.getElementById(id);

function add(parent, tag, values) {
  const element = Object.assign(document.createElement(tag), values);
  parent.append(element);
  return element;
}

function show(name, answer) {
  const article = document.createElement("article");
  add(article, "h2", { textContent: name });
  if (answer.error) {
    add(article, "p", { textContent: answer.error, className: "error" });
  } else {
    const { lines, video, poster, pictures, texts } = answer.shown;
    const player = add(article, "video", { src: video, poster, controls: true, loop: true, playsInline: true });
    player.setAttribute("aria-label", `${name}: ${lines.join("; ")}`);
    player.play().catch(() => {});
    lines.forEach((text) => add(article, "p", { textContent: text }));
    pictures.forEach((picture) => add(article, "img", { src: picture.source, alt: picture.alt }));
    Object.entries(texts).forEach(([title, text]) => {
      const details = add(article, "details", {});
      add(details, "summary", { textContent: title });
      add(details, "pre", { textContent: text, tabIndex: 0 });
    });
  }
  byId("answers").prepend(article);
}

async function ask(file) {
  const address = `/api/predict?show=1&name=${encodeURIComponent(file.name)}`;
  try {
    const response = await fetch(address, { method: "POST", body: file });
    return await response.json();
  } catch (error) {
    return { error: `No answer: ${error.message}` };
  }
}

let waiting = Promise.resolve();
function take(files) {
  for (const file of files) {
    waiting = waiting.then(async () => {
      byId("status").textContent = `Looking at ${file.name} …`;
      const answer = await ask(file);
      show(file.name, answer);
      byId("status").textContent = answer.error ? `${file.name}: ${answer.error}` : `${file.name}: ${answer.shown.lines[0]}`;
    });
  }
}

const drop = byId("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => event.preventDefault());
  drop.addEventListener(name, () => drop.classList.toggle("over", name.startsWith("drage") || name === "dragover"));
}
document.addEventListener("drop", (event) => take(event.dataTransfer.files));
byId("choose").addEventListener("change", (event) => take(event.target.files));
fetch("/api").then((response) => response.json()).then((about) => {
  byId("about").textContent = `${about.task} with ${about.network}; at most ${about.most_bytes / 1e6} MB a clip. Nothing leaves this machine.`;
});

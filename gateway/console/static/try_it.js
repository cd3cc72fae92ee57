// Try it: quotes as the form is filled, the picture as it forms, before and after with a slider.
// Without this script the form alone does the same, with a page as its answer.
"use strict";

const form = document.getElementById("try");
const pictures = form.elements["image[]"];
const result = document.getElementById("result");
const urls = [];

const element = (name, text = "", className = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
};

function urlOf(blob) {
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return url;
}

function image(blob, alt) {
  const made = document.createElement("img");
  made.src = urlOf(blob);
  made.alt = alt;
  return made;
}

// The pictures that were chosen, and the command that sends them.

const quoted = (text) => (/^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
const inQuotes = (name) => `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

function showCommand() {
  const names = [...pictures.files].map((file) => file.name);
  const parts = names.length ? names.map((name) => `image[]=@${/^[\w. -]+$/.test(name) ? name : inQuotes(name)}`) : ["image[]=@photo.jpg"];
  document.getElementById("command").textContent = [
    `curl -s ${quoted(form.dataset.url)}`,
    `-H ${quoted(`Authorization: Bearer ${form.dataset.key}`)}`,
    `-F ${quoted(`model=${form.elements.model.value}`)}`,
    `--form-string ${quoted(`prompt=${form.elements.prompt.value || "make it grey"}`)}`,
    ...parts.map((part) => `-F '${part.replaceAll("'", `'"'"'`)}'`),
  ].join(" \\\n  ") + " |\n  jq -r '.data[0].b64_json' | base64 -d > edited.png";
}

function showChosen() {
  const chosen = document.getElementById("chosen");
  chosen.replaceChildren(...[...pictures.files].map((file) => image(file, file.name)));
}

const drop = form.querySelector(".drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) {
    pictures.files = event.dataTransfer.files;
    form.dispatchEvent(new Event("change"));
  }
});

// The quote: the page that the form alone would get holds it.

let asked = 0;

async function showQuote() {
  if (!form.elements.prompt.value.trim() || !pictures.files.length) return;
  const number = ++asked;
  const answer = await fetch(form.dataset.quote, { method: "POST", body: new FormData(form) });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (number !== asked) return;
  const found = page.getElementById("quote") ?? element("div");
  if (!found.textContent.trim()) {
    const said = page.querySelector(".error, .message.bad") ?? page.querySelector("main p");
    found.replaceChildren(element("p", said ? said.textContent : "No quote.", "message bad"));
  }
  found.id = "quote";
  document.getElementById("quote").replaceWith(found);
}

form.addEventListener("change", () => {
  showChosen();
  showCommand();
  showQuote().catch(() => {});
});
form.elements.prompt.addEventListener("input", showCommand);

// The edit.

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    text += piece.value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

function blobOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const type = { "iVBO": "image/png", "/9j/": "image/jpeg", "UklG": "image/webp" }[base64.slice(0, 4)];
  return new Blob([bytes], { type: type ?? "application/octet-stream" });
}

function refuse(message) {
  result.replaceChildren(element("p", message, "message bad"));
}

function showPicture(base64, facts) {
  const blob = blobOf(base64);
  const save = element("a", "Download", "button quiet");
  save.href = urlOf(blob);
  save.download = `edited.${blob.type.split("/")[1]}`;
  const line = element("p", "", "facts");
  line.append(element("strong", facts.shift()), facts.map((fact) => ` · ${fact}`).join(""));
  const actions = element("p", "", "actions");
  actions.append(save);
  result.replaceChildren(compare(image(pictures.files[0], "Before"), image(blob, "After")), line, actions);
}

const dollars = (text) => (text == null ? null : `$${Number(text).toFixed(Number(text) >= 1 ? 2 : 4).replace(/(\.\d\d)00$/, "$1")}`);

function factsOf(answer, usage) {
  const head = (name) => answer.headers.get(name);
  const cost = dollars(head("x-gateway-cost-usd") ?? usage?.cost?.total_cost);
  const saved = head("x-gateway-saved-usd");
  const left = dollars(head("x-gateway-budget-remaining-usd"));
  const facts = [head("x-gateway-cache") ?? "DONE"];
  if (cost) facts.push(`cost ${cost}`);
  if (saved && Number(saved)) facts.push(`saved ${dollars(saved)}`);
  if (left) facts.push(`${left} left`);
  return facts;
}

async function run() {
  const data = new FormData(form);
  asked += 1;
  document.getElementById("quote").replaceChildren();
  data.append("stream", "true");
  data.append("partial_images", "2");
  result.replaceChildren(element("div", "", "stage busy"));
  result.firstChild.append(element("p", "Being made…", "muted"));
  const answer = await fetch(form.dataset.edits, { method: "POST", body: data });
  const type = answer.headers.get("content-type") ?? "";
  if (type.startsWith("text/html")) return refuse("Your session has ended: reload the page and sign in.");
  if (!answer.ok) return refuse((await answer.json()).error.message);
  for await (const event of events(answer.body)) {
    if (event.error) return refuse(event.error.message);
    if (event.type.endsWith(".partial_image")) {
      const partial = element("div", "", "stage busy");
      partial.append(image(blobOf(event.b64_json), "The picture so far"));
      result.replaceChildren(partial);
    }
    if (event.type.endsWith(".completed")) return showPicture(event.b64_json, factsOf(answer, event.usage));
  }
  refuse("The connection broke off. The edit may have been charged; run it again: it is not bought twice.");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (event.submitter?.formAction === new URL(form.dataset.quote, location).href) return showQuote();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await run();
  } catch (error) {
    refuse(`The gateway could not be reached: ${error.message}`);
  } finally {
    button.disabled = false;
  }
});

showCommand();

import { Model, painted, shares } from "./segment.js";

const at = (id) => document.getElementById(id);
let model = null, picture = null;

/** Take files one after another: models are opened, anything else is a picture. */
async function take(files) {
  for (const file of files) await told(file.name, () => (/\.onnx$/i.test(file.name) ? open(file) : show(file)));
}

/** Do something, and say what went wrong. */
async function told(what, work) {
  document.body.classList.add("busy");
  try {
    await work();
  } catch (error) {
    say(`${what}: ${String(error.message ?? error).split("\n")[0]}`, true);
  }
  document.body.classList.remove("busy");
}

async function open(file) {
  say(`opening ${file.name} ...`);
  model = await Model.open(new Uint8Array(await file.arrayBuffer()));
  at("model").textContent = `${file.name}: ${model.facts.family} ${model.facts.variant}, ${model.facts.classes.length} classes`;
  say("Now drop a picture.");
  if (picture) await label();
}

async function show(file) {
  try {
    picture = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("this browser reads no picture in it");
  }
  if (!model) return say("Drop the model first: a .onnx file of fcnrt export.", true);
  await label();
}

/** Label the picture and show it. */
async function label() {
  const [width, height] = size(), pixels = drawn(width, height);
  say(`labelling ${width} \u00d7 ${height} ...`);
  await new Promise((painted) => setTimeout(painted, 20)); // the network blocks the page
  const began = performance.now(), labels = await model.label(pixels);
  const seconds = (performance.now() - began) / 1000;
  put(at("picture"), pixels);
  put(at("labels"), painted(labels, model.colours, width, height));
  at("result").hidden = false;
  legend(labels);
  const scaled = width === picture.width && height === picture.height ? "" : `, scaled from ${picture.width} \u00d7 ${picture.height}`;
  say(`${width} \u00d7 ${height}${scaled}, ${seconds.toFixed(1)} s`);
}

/** Width and height that the picture is labelled at: its own, at most the longest side asked for, or the file's only one. */
function size() {
  const scale = Math.min(1, Number(at("longest").value) / Math.max(picture.width, picture.height));
  const scaled = (side) => Math.max(1, Math.round(side * scale));
  return [model.width ?? scaled(picture.width), model.height ?? scaled(picture.height)];
}

function drawn(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function put(canvas, pixels) {
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function legend(labels) {
  at("legend").replaceChildren(...shares(labels).map(([label, share]) => {
    const row = document.createElement("li"), swatch = document.createElement("i");
    swatch.style.background = `rgb(${model.colours[label]})`;
    row.append(swatch, model.facts.classes[label], Object.assign(document.createElement("b"), { textContent: `${(100 * share).toFixed(1)} %` }));
    return row;
  }));
}

function say(text, wrong = false) {
  at("said").textContent = text;
  at("said").classList.toggle("wrong", wrong);
}

/** Open the model that the address names: ?model=street.onnx */
async function openNamed(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  await open(new File([await answer.arrayBuffer()], name));
}

document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
};
at("files").onchange = () => take(at("files").files);
at("longest").onchange = () => model && picture && told("picture", label);
at("opacity").oninput = () => { at("labels").style.opacity = at("opacity").value; };
const named = new URLSearchParams(location.search).get("model");
if (named) told(named, () => openNamed(named));

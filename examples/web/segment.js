// Pictures to labels by onnxruntime-web: all that the network was trained on is in the file, so that bytes go in.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { factsOf } from "./facts.js";

export class Model {
  /** @param {Uint8Array} file an ONNX file as `fcnrt export` writes it. */
  static async open(file) {
    const facts = factsOf(file);
    if (!facts.classes) throw new Error("expected a file that fcnrt export wrote; this one has no classes");
    const { input, output } = facts.interface ?? {};
    if ((input ?? "nhwc-uint8") !== "nhwc-uint8" || output === "scores-float")
      throw new Error(`expected a file from bytes to labels, this one goes from ${input} to ${output}`);
    return new Model(facts, await ort.InferenceSession.create(file, { executionProviders: ["wasm"] }));
  }

  constructor(facts, session) {
    this.facts = facts;
    this.colours = facts.classes.map((_, label) => (NAMED[facts.palette] ?? facts.palette)[label] ?? vocColour(label));
    this.session = session;
    const [, height, width] = session.inputMetadata[0].shape;
    this.height = typeof height === "number" ? height : null; // null: any
    this.width = typeof width === "number" ? width : null;
  }

  /** The labels of an ImageData: an array of height x width class indices, row by row. */
  async label({ data, width, height }) {
    const frames = new ort.Tensor("uint8", pixels(data, this.facts.color === "bgr"), [1, height, width, 3]);
    const { labels } = await this.session.run({ frames });
    return labels.data;
  }
}

// Palettes that files only name. "generated" is not here: its classes get VOC's colours.
const NAMED = {
  cityscapes: [[128, 64, 128], [244, 35, 232], [70, 70, 70], [102, 102, 156], [190, 153, 153], [153, 153, 153],
    [250, 170, 30], [220, 220, 0], [107, 142, 35], [152, 251, 152], [70, 130, 180], [220, 20, 60], [255, 0, 0],
    [0, 0, 142], [0, 0, 70], [0, 60, 100], [0, 80, 100], [0, 0, 230], [119, 11, 32]],
  camvid: [[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [0, 0, 192], [128, 128, 0],
    [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192]],
  generated: [],
  voc: [],
};

/** Pascal VOC's rule: bit i of the class, dealt to red, green and blue in turn. */
function vocColour(label) {
  const colour = [0, 0, 0];
  for (let bit = 0; bit < 24; bit++) colour[bit % 3] |= (label >> bit & 1) << (7 - Math.floor(bit / 3));
  return colour;
}

/** RGBA to RGB or BGR. */
function pixels(rgba, bgr) {
  const [red, blue] = bgr ? [2, 0] : [0, 2], out = new Uint8Array(rgba.length / 4 * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    out[to + red] = rgba[from];
    out[to + 1] = rgba[from + 1];
    out[to + blue] = rgba[from + 2];
  }
  return out;
}

/** Labels in the file's colours, as an ImageData. */
export function painted(labels, colours, width, height) {
  const picture = new ImageData(width, height);
  colours = colours.map(([red, green, blue]) => 0xff000000 + (blue << 16) + (green << 8) + red);
  new Uint32Array(picture.data.buffer).set(Uint32Array.from(labels, (label) => colours[label]));
  return picture;
}

/** How often each class is seen, as shares of the picture, the largest first: [class, share]. */
export function shares(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].map(([label, count]) => [label, count / labels.length]).sort(([, one], [, other]) => other - one);
}

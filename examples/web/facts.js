// What an exported file says of itself: the metadata of the ONNX file whose keys begin with "fcn.", as JSON.
// onnxruntime-web shows no metadata, so that they are read from the file: field 14 of its only message, each a pair of
// texts, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

const METADATA = 14, KEY = 1, VALUE = 2;

/** @param {Uint8Array} file @returns {Record<string, any>} facts by their names without the prefix. */
export function factsOf(file) {
  const facts = {}, text = new TextDecoder();
  for (const [field, entry] of fields(file)) {
    if (field !== METADATA) continue;
    const pair = Object.fromEntries([...fields(entry)].map(([at, bytes]) => [at, text.decode(bytes)]));
    if (pair[KEY]?.startsWith("fcn.")) facts[pair[KEY].slice(4)] = JSON.parse(pair[VALUE]);
  }
  return facts;
}

/** The fields of a protobuf message that hold bytes: number and bytes. */
function* fields(message) {
  let at = 0;
  const number = () => {
    let value = 0, scale = 1, byte;
    do {
      if (at >= message.length) throw new Error("the file is cut off or is no ONNX file");
      byte = message[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < message.length) {
    const tag = number(), kind = tag % 8;
    if (kind === 0) number();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = number();
      if (at + length > message.length) throw new Error("the file is cut off or is no ONNX file");
      yield [Math.floor(tag / 8), message.subarray(at, at += length)];
    } else throw new Error("the file is no ONNX file");
  }
}

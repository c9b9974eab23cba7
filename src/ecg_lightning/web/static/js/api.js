/** The requests of the page. Every failure is an `Error` whose message is one sentence for the user. */

async function reach(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The viewer does not answer. Is ecg-lightning view still running?");
  }
  if (answer.ok) return answer;
  throw new Error(sentenceOf(await answer.text(), answer.status));
}

function sentenceOf(text, status) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim() || `The viewer answers with status ${status}.`;
  }
}

/** JSON of a path; with a body it is sent as JSON. */
export async function ask(path, method = "GET", body = undefined) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  return (await reach(path, { method, headers, body: JSON.stringify(body) })).json();
}

/** A tile: values `[leads, blocks, ends]` and whether all of it was read already. */
export async function askTile(path) {
  const answer = await reach(path);
  const [, blocks, ends] = answer.headers.get("x-shape").split(",").map(Number);
  const values = new Float32Array(await answer.arrayBuffer());
  return { values, blocks, ends, whole: answer.headers.get("x-whole") === "1" };
}

const KINDS = {
  float64: Float64Array, float32: Float32Array, int32: Int32Array, int8: Int8Array, uint8: Uint8Array,
};

/** The columns of a table, each unpacked into a typed array. */
export function unpacked(columns) {
  return Object.fromEntries(Object.entries(columns).map(([name, { type, data }]) => {
    const text = atob(data), bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
    return [name, new KINDS[type](bytes.buffer)];
  }));
}

/** Send a file; `progress` gets the part that is sent. Resolves to the session. */
export function upload(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not report how much of a body is sent
    request.open("PUT", `/api/uploads/${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onerror = () => reject(new Error(`${file.name} could not be sent.`));
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(new Error(sentenceOf(request.responseText, request.status)));
    };
    request.send(file);
  });
}

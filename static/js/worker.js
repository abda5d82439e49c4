// Beside the page: reads headers, digests files and cuts chunks, so that thousands of files do not freeze it.

import { base64, digestOf, digestOfFile, hex } from "./sha256.js";
import { lookInto } from "./sniff.js";

/**
 * @typedef {{ file: File, path: string }} Entry
 * @typedef {{ file: File, start: number, end: number, sha256: string }} Cut
 */

/**
 * A file that the disc does not give back is named, so that nobody takes the study for whole.
 * @param {Entry[]} entries
 */
function look(entries) {
  /** @param {Entry} entry */
  const one = ({ file, path }) => lookInto(file, path).catch(() => ({ kind: "left_out", code: "not_readable" }));
  return Promise.all(entries.map(one));
}

/**
 * The octets of one chunk and their digest. A file that lies wholly within the chunk is held against its own digest.
 * @param {Cut[]} cuts
 */
async function cut(cuts) {
  const length = cuts.reduce((sum, { start, end }) => sum + end - start, 0);
  const octets = new Uint8Array(length);
  let at = 0;
  for (const { file, start, end, sha256 } of cuts) {
    const part = new Uint8Array(await file.slice(start, end).arrayBuffer());
    if (part.length !== end - start) throw new DOMException("shorter than it was", "NotReadableError");
    if (end - start === file.size && hex(await digestOf(part)) !== sha256) {
      throw new DOMException("other bytes than before", "NotReadableError");
    }
    octets.set(part, at);
    at += part.length;
  }
  return { octets: octets.buffer, digest: base64(await digestOf(octets)) };
}

/**
 * @param {string} verb
 * @param {any} what
 * @param {(bytes: number) => void} tell
 */
async function work(verb, what, tell) {
  if (verb === "look") return look(what);
  if (verb === "digest") return hex(await digestOfFile(what, tell));
  return cut(what);
}

self.onmessage = async ({ data: { id, verb, what } }) => {
  try {
    const found = await work(verb, what, (bytes) => self.postMessage({ id, bytes }));
    const transfer = verb === "cut" ? [/** @type {any} */ (found).octets] : [];
    self.postMessage({ id, found }, { transfer });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error || error instanceof DOMException ? error.name : "Error" });
  }
};

// The head of a DICOM file (PS3.10, PS3.5 chapter 7), read in the browser, as far as a study card needs it.

import { decode } from "./charset.js";

const IMPLICIT = "1.2.840.10008.1.2";
const BIG_ENDIAN = "1.2.840.10008.1.2.2";
const DEFLATED = ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1"];
const DIRECTORY = "1.2.840.10008.1.3.10";
const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const UNDEFINED = 0xffffffff;
const ITEM = 0xfffee000;
const ITEM_END = 0xfffee00d;
const SEQUENCE_END = 0xfffee0dd;
const DEEPEST = 32;

/** @type {Record<number, string>} */
const WANTED = {
  0x00080005: "charset",
  0x00080016: "sopClass",
  0x00080018: "sopInstance",
  0x00080020: "studyDate",
  0x00080050: "accession",
  0x00080060: "modality",
  0x00081030: "description",
  0x00100010: "patientName",
  0x00100020: "patientId",
  0x00100021: "issuer",
  0x00100030: "birthDate",
  0x00100040: "sex",
  0x0020000d: "study",
  0x0020000e: "series",
};
const LAST_WANTED = 0x0020000e;

/**
 * @typedef {object} Header
 * @property {string} study StudyInstanceUID
 * @property {string} series
 * @property {string} sopInstance
 * @property {string} sopClass
 * @property {string} patientName
 * @property {string} patientId
 * @property {string} issuer
 * @property {string} birthDate
 * @property {string} sex
 * @property {string} studyDate
 * @property {string} accession
 * @property {string} modality
 * @property {string} description
 */

/** Thrown when the answer lies beyond the bytes at hand. */
export class NeedMore extends Error {
  /** @param {number} until bytes of the file needed at least */
  constructor(until) {
    super(`bytes up to ${until} are needed`);
    this.until = until;
  }
}

/** Thrown for bytes that cannot be a data set. */
export class Malformed extends Error {}

/**
 * Whether the file claims to be DICOM: by its prefix, or, without a preamble, by a sane first element.
 * @param {Uint8Array} head
 */
export function looksLikeDicom(head) {
  return hasPrefix(head) || firstElement(head) !== null;
}

/** @param {Uint8Array} head */
function hasPrefix(head) {
  return head[128] === 0x44 && head[129] === 0x49 && head[130] === 0x43 && head[131] === 0x4d;
}

/**
 * How a file without preamble begins: with group 0002, or with group 0008 in a plausible encoding.
 * @param {Uint8Array} head
 * @returns {"meta" | "explicit" | "implicit" | null}
 */
function firstElement(head) {
  if (head.length < 8) return null;
  const view = viewOf(head);
  const group = view.getUint16(0, true);
  const element = view.getUint16(2, true);
  const explicit = /^(AE|CS|UI|UL|DA|TM|SH|LO|DT)$/.test(String.fromCharCode(head[4], head[5]));
  if (group === 2 && element <= 0x0010 && explicit) return "meta";
  if (group !== 8 || element > 0x0020) return null;
  if (explicit) return "explicit";
  const length = view.getUint32(4, true);
  return length > 0 && length <= 64 && length % 2 === 0 ? "implicit" : null;
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

class Reader {
  /**
   * @param {Uint8Array} bytes the beginning of the data
   * @param {number} size how long the data is as a whole
   */
  constructor(bytes, size) {
    this.bytes = bytes;
    this.view = viewOf(bytes);
    this.size = size;
    this.at = 0;
    this.explicit = true;
    this.little = true;
  }

  /** @param {number} count */
  need(count) {
    const until = this.at + count;
    if (until > this.size) throw new Malformed("the file ends too early");
    if (until > this.bytes.length) throw new NeedMore(until);
  }

  /** Tag, value representation and length of the next element; `at` then stands on its value. */
  element() {
    this.need(8);
    const { view, at, little } = this;
    const tag = view.getUint16(at, little) * 0x10000 + view.getUint16(at + 2, little);
    this.at += 8;
    if (!this.explicit || tag >= ITEM) return { tag, vr: "", length: view.getUint32(at + 4, little) };
    const vr = String.fromCharCode(this.bytes[at + 4], this.bytes[at + 5]);
    if (!/^[A-Z]{2}$/.test(vr)) throw new Malformed("no value representation");
    if (!LONG.has(vr)) return { tag, vr, length: view.getUint16(at + 6, little) };
    this.need(4);
    this.at += 4;
    return { tag, vr, length: view.getUint32(at + 8, little) };
  }

  /** @param {number} length */
  value(length) {
    this.need(length);
    const value = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return value;
  }

  /**
   * Steps over a value of undefined length: items until the sequence delimiter.
   * @param {string} vr
   * @param {number} depth
   */
  skipItems(vr, depth) {
    if (depth > DEEPEST) throw new Malformed("nested too deeply");
    const { explicit } = this;
    if (vr === "UN") this.explicit = false; // PS3.5 6.2.2, note 4: implicit within
    for (;;) {
      const { tag, length } = this.element();
      if (tag === SEQUENCE_END) break;
      if (tag !== ITEM) throw new Malformed("an item was expected");
      if (length !== UNDEFINED) this.at += length;
      else this.skipItem(depth);
    }
    this.explicit = explicit;
  }

  /** @param {number} depth */
  skipItem(depth) {
    for (;;) {
      const { tag, vr, length } = this.element();
      if (tag === ITEM_END) return;
      if (length === UNDEFINED) this.skipItems(vr, depth + 1);
      else this.at += length;
    }
  }
}

/**
 * The file meta information: transfer syntax, class, and where the data set begins.
 * @param {Reader} reader
 */
function readMeta(reader) {
  const meta = { syntax: "", sopClass: "", sopInstance: "" };
  for (;;) {
    if (reader.at >= reader.size) return meta;
    reader.need(2);
    if (reader.view.getUint16(reader.at, true) !== 2) return meta;
    const { tag, length } = reader.element();
    if (tag === 0x00020002) meta.sopClass = uid(reader.value(length));
    else if (tag === 0x00020003) meta.sopInstance = uid(reader.value(length));
    else if (tag === 0x00020010) meta.syntax = uid(reader.value(length));
    else reader.at += length;
  }
}

/** @param {Uint8Array} raw */
function uid(raw) {
  return String.fromCharCode(...raw).replace(/[\0 ]+$/, "");
}

/**
 * @param {Reader} reader
 * @returns {Header}
 */
function readDataSet(reader) {
  /** @type {Record<string, Uint8Array>} */
  const raw = {};
  while (reader.at < reader.size) {
    const { tag, vr, length } = reader.element();
    if (tag > LAST_WANTED) break;
    if (length === UNDEFINED) reader.skipItems(vr, 0);
    else if (tag in WANTED) raw[WANTED[tag]] = reader.value(length);
    else reader.at += length;
  }
  const charset = raw.charset ? uid(raw.charset) : "";
  const entries = Object.values(WANTED).map((name) => [name, raw[name] ? decode(raw[name], charset) : ""]);
  return Object.fromEntries(entries);
}

/**
 * @param {Reader} reader
 * @param {string} syntax
 */
function setSyntax(reader, syntax) {
  reader.explicit = syntax !== IMPLICIT;
  reader.little = syntax !== BIG_ENDIAN;
}

/**
 * Reads the header out of the first bytes of a file.
 * @param {Uint8Array} bytes
 * @param {number} size of the whole file
 * @param {(bytes: Uint8Array) => Promise<Uint8Array>} [inflate] the beginning of a deflated data set, inflated
 * @returns {Promise<{ kind: "dicom", header: Header } | { kind: "dicomdir" }>}
 * @throws {NeedMore | Malformed}
 */
export async function readHeader(bytes, size, inflate = inflateHead) {
  const reader = new Reader(bytes, size);
  const start = hasPrefix(bytes) ? "meta" : firstElement(bytes);
  if (hasPrefix(bytes)) reader.at = 132;
  let syntax = start === "implicit" ? IMPLICIT : "";
  if (start === "meta") {
    const meta = readMeta(reader);
    if (meta.sopClass === DIRECTORY) return { kind: "dicomdir" };
    syntax = meta.syntax;
  }
  if (DEFLATED.includes(syntax)) return { kind: "dicom", header: await readDeflated(reader, inflate) };
  setSyntax(reader, syntax);
  return { kind: "dicom", header: readDataSet(reader) };
}

/**
 * @param {Reader} reader
 * @param {(bytes: Uint8Array) => Promise<Uint8Array>} inflate
 */
async function readDeflated(reader, inflate) {
  const plain = await inflate(reader.bytes.subarray(reader.at));
  const whole = reader.bytes.length >= reader.size;
  try {
    return readDataSet(new Reader(plain, whole ? plain.length : Infinity));
  } catch (error) {
    if (!(error instanceof NeedMore)) throw error;
    throw new NeedMore(Math.min(reader.size, reader.bytes.length * 2));
  }
}

const INFLATE_AT_MOST = 4 * 1024 * 1024;

/**
 * What the first bytes of a deflated stream inflate to; the stream may end in the middle.
 * @param {Uint8Array} bytes
 */
async function inflateHead(bytes) {
  const stream = new DecompressionStream("deflate-raw");
  const writer = stream.writable.getWriter();
  writer.write(bytes.slice()).catch(() => {});
  writer.close().catch(() => {});
  const reader = stream.readable.getReader();
  const parts = [];
  let length = 0;
  try {
    for (let next = await reader.read(); !next.done && length < INFLATE_AT_MOST; next = await reader.read()) {
      parts.push(next.value);
      length += next.value.length;
    }
  } catch {
    // the stream was cut where our bytes end; what came before the cut is good
  }
  reader.cancel().catch(() => {});
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

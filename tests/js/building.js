// Small DICOM files, written byte by byte.

const LONG = new Set(["OB", "OW", "SQ", "UN", "UT"]);
const PIXELS = { tag: 0x7fe00010, vr: "OW", value: "0123456789" };

/**
 * @typedef {{ tag: number, vr: string, value: string | Uint8Array | Element[][], undefinedLength?: boolean }} Element
 * @typedef {{ implicit?: boolean, big?: boolean }} Encoding
 */

/** @param {(Uint8Array | number[])[]} parts */
export function join(...parts) {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/**
 * @param {number} number
 * @param {2 | 4} size
 * @param {boolean} big
 */
function integer(number, size, big) {
  const bytes = Array.from({ length: size }, (_, index) => (number >>> (8 * index)) & 0xff);
  return big ? bytes.reverse() : bytes;
}

/**
 * @param {number} tag
 * @param {boolean} big
 */
function tagBytes(tag, big) {
  return [...integer(tag >>> 16, 2, big), ...integer(tag & 0xffff, 2, big)];
}

/**
 * @param {Element} element
 * @param {Encoding} encoding
 * @returns {Uint8Array}
 */
export function element({ tag, vr, value, undefinedLength = false }, encoding = {}) {
  const { implicit = false, big = false } = encoding;
  let raw = typeof value === "string" ? Uint8Array.from(value, (sign) => sign.charCodeAt(0)) : value;
  if (Array.isArray(raw)) raw = items(raw, encoding, undefinedLength);
  if (raw.length % 2) raw = join(raw, [vr === "UI" ? 0 : 32]);
  const length = undefinedLength ? 0xffffffff : raw.length;
  const tail = undefinedLength ? [...tagBytes(0xfffee0dd, big), 0, 0, 0, 0] : [];
  if (implicit) return join(tagBytes(tag, big), integer(length, 4, big), raw, tail);
  const name = [...vr].map((sign) => sign.charCodeAt(0));
  const size = LONG.has(vr) ? [0, 0, ...integer(length, 4, big)] : integer(length, 2, big);
  return join(tagBytes(tag, big), name, size, raw, tail);
}

/**
 * @param {Element[][]} list
 * @param {Encoding} encoding
 * @param {boolean} undefinedLength
 */
function items(list, encoding, undefinedLength) {
  const big = encoding.big ?? false;
  return join(
    ...list.map((inside) => {
      const body = join(...inside.map((one) => element(one, encoding)));
      const length = undefinedLength ? 0xffffffff : body.length;
      const end = undefinedLength ? [...tagBytes(0xfffee00d, big), 0, 0, 0, 0] : [];
      return join(tagBytes(0xfffee000, big), integer(length, 4, big), body, end);
    }),
  );
}

/**
 * @param {string} syntax
 * @param {string} [sopClass]
 */
export function meta(syntax, sopClass = "1.2.840.10008.5.1.4.1.1.2") {
  const body = join(
    element({ tag: 0x00020002, vr: "UI", value: sopClass }),
    element({ tag: 0x00020003, vr: "UI", value: "1.2.3.4" }),
    element({ tag: 0x00020010, vr: "UI", value: syntax }),
  );
  const length = Uint8Array.from(integer(body.length, 4, false));
  return join(
    new Uint8Array(128),
    [0x44, 0x49, 0x43, 0x4d],
    element({ tag: 0x00020000, vr: "UL", value: length }),
    body,
  );
}

/**
 * The elements of a small study, in order.
 * @param {Partial<Record<"charset" | "name" | "id" | "study" | "series" | "sop", string>>} [values]
 * @returns {Element[]}
 */
export function elements({
  charset = "",
  name = "Doe^Jane",
  id = "P1",
  study = "1.2.3",
  series = "1.2.3.1",
  sop = "1.2.3.1.1",
} = {}) {
  return [
    ...(charset ? [{ tag: 0x00080005, vr: "CS", value: charset }] : []),
    { tag: 0x00080018, vr: "UI", value: sop },
    { tag: 0x00080020, vr: "DA", value: "20240229" },
    { tag: 0x00080060, vr: "CS", value: "CT" },
    { tag: 0x00081030, vr: "LO", value: "Head" },
    { tag: 0x00081140, vr: "SQ", value: [[{ tag: 0x00081155, vr: "UI", value: "9.9" }]] },
    { tag: 0x00100010, vr: "PN", value: name },
    { tag: 0x00100020, vr: "LO", value: id },
    { tag: 0x00100030, vr: "DA", value: "19610203" },
    { tag: 0x00100040, vr: "CS", value: "F" },
    { tag: 0x0020000d, vr: "UI", value: study },
    { tag: 0x0020000e, vr: "UI", value: series },
    PIXELS,
  ];
}

/**
 * @param {Element[]} list
 * @param {Encoding} [encoding]
 */
export function dataSet(list, encoding = {}) {
  return join(...list.map((one) => element(one, encoding)));
}

export const EXPLICIT = "1.2.840.10008.1.2.1";

/** @param {Parameters<typeof elements>[0]} [values] */
export function file(values) {
  return join(meta(EXPLICIT), dataSet(elements(values)));
}

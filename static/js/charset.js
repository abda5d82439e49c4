// Text of a DICOM value, decoded with SpecificCharacterSet (PS3.3 C.12.1.1.2, PS3.5 6.1).

/** @type {Record<string, string>} */
const ENCODINGS = {
  "": "latin1",
  "IR 6": "latin1",
  "IR 13": "shift_jis",
  "IR 100": "latin1",
  "IR 101": "iso-8859-2",
  "IR 109": "iso-8859-3",
  "IR 110": "iso-8859-4",
  "IR 126": "iso-8859-7",
  "IR 127": "iso-8859-6",
  "IR 138": "iso-8859-8",
  "IR 144": "iso-8859-5",
  "IR 148": "windows-1254",
  "IR 166": "windows-874",
  "IR 192": "utf-8",
  "IR 203": "iso-8859-15",
  GB18030: "gb18030",
  GBK: "gbk",
};

// What an escape sequence switches to (PS3.3 tables C.12-3 and C.12-4), without its ESC.
/** @type {Record<string, string>} */
const ESCAPES = {
  "(B": "latin1",
  "(J": "shift_jis",
  ")I": "shift_jis",
  "-A": "latin1",
  "-B": "iso-8859-2",
  "-C": "iso-8859-3",
  "-D": "iso-8859-4",
  "-F": "iso-8859-7",
  "-G": "iso-8859-6",
  "-H": "iso-8859-8",
  "-L": "iso-8859-5",
  "-M": "windows-1254",
  "-T": "windows-874",
  "-b": "iso-8859-15",
  $B: "iso-2022-jp",
  "$(D": "iso-2022-jp",
  "$)C": "euc-kr",
  "$)A": "gbk",
};

const ESC = 0x1b;

/**
 * @param {Uint8Array} raw
 * @param {string} charset value of (0008,0005) as it stands in the file
 */
export function decode(raw, charset) {
  const first = charset.split("\\")[0].trim();
  const encoding = ENCODINGS[first.replace(/^ISO(_| 2022 )/, "")] ?? "latin1";
  const text = raw.includes(ESC) ? extended(raw, encoding) : plain(raw, encoding);
  return text.replace(/[\0 ]+$/, "").trimStart();
}

/**
 * @param {Uint8Array} raw
 * @param {string} encoding
 */
function plain(raw, encoding) {
  return new TextDecoder(encoding).decode(raw);
}

/**
 * Code extensions: pieces between escape sequences, each in the encoding that was switched to.
 * @param {Uint8Array} raw
 * @param {string} initial
 */
function extended(raw, initial) {
  let text = "";
  let encoding = initial;
  let at = 0;
  while (at < raw.length) {
    const found = raw.indexOf(ESC, at);
    const end = found < 0 ? raw.length : found;
    text += piece(raw.subarray(at, end), encoding, initial);
    if (found < 0) break;
    const sequence = escapeAt(raw, found + 1);
    encoding = ESCAPES[sequence] ?? initial;
    at = found + 1 + sequence.length;
  }
  return text;
}

/**
 * @param {Uint8Array} raw
 * @param {string} encoding
 * @param {string} initial what every delimiter of a name goes back to
 */
function piece(raw, encoding, initial) {
  if (encoding === "iso-2022-jp") return plain(Uint8Array.of(ESC, 0x24, 0x42, ...raw), encoding);
  const [head, ...rest] = split(raw);
  const tail = rest.map((part) => String.fromCharCode(part[0]) + plain(part.subarray(1), initial));
  return plain(head, encoding) + tail.join("");
}

/**
 * Cuts before each ^, = and \: there the initial character set is in force again (PS3.5 6.1.2.5.3).
 * @param {Uint8Array} raw
 */
function split(raw) {
  const parts = [];
  let start = 0;
  raw.forEach((byte, index) => {
    if (byte !== 0x5e && byte !== 0x3d && byte !== 0x5c) return;
    parts.push(raw.subarray(start, index));
    start = index;
  });
  parts.push(raw.subarray(start));
  return parts;
}

/**
 * @param {Uint8Array} raw
 * @param {number} at
 */
function escapeAt(raw, at) {
  const long = raw[at] === 0x24 && (raw[at + 1] === 0x28 || raw[at + 1] === 0x29);
  return String.fromCharCode(...raw.subarray(at, at + (long ? 3 : 2)));
}

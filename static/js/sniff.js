// What a chosen file is: a DICOM image, or one of the things that discs carry beside them. The server has the same rules.

import { looksLikeDicom, Malformed, NeedMore, readHeader } from "./dicom.js";

/**
 * @typedef {import("./dicom.js").Header} Header
 * @typedef {{ kind: "image", header: Header } | { kind: "unreadable" } | { kind: "left_out", code: string }} Finding
 */

const FIRST_READ = 16 * 1024;
const LONGEST_READ = 16 * 1024 * 1024;

const VIEWER_SUFFIXES = new Set(
  (
    "bat bin cab chm class cmd com config css dll dylib exe gif hlp htm html icns ico inf ini jar js lnk manifest msi " +
    "ocx plist so svg sys ttf xhtml xsl xslt"
  ).split(" "),
);
const HELP = /^(autorun|copying|eula|help|install|licence|license|manual|readme)[^.]*(\.(md|rtf|txt|xml))?$/;
const PACKED = ["PK\x03\x04", "PK\x05\x06", "PK\x07\x08", "Rar!\x1a\x07", "7z\xbc\xaf\x27\x1c", "\x1f\x8b", "BZh"];
const PICTURES = ["\xff\xd8\xff", "\x89PNG", "%PDF-", "II*\x00", "MM\x00*", "\x00\x00\x00\x0cjP  ", "\xfd7zXZ\x00"];
const PROGRAMS = ["MZ", "\x7fELF", "#!", "MSCF", "\xd0\xcf\x11\xe0", "ITSF", "\x00\x00\x01\x00", "GIF8", "BM"];
const ENCRYPTED = ["Salted__", "-----BEGIN PGP MESSAGE"];

/** @type {Record<string, string>} */
export const SENTENCES = {
  not_dicom: "not DICOM",
  empty_file: "empty",
  dicomdir: "table of contents of a disc (its images are sent by themselves)",
  viewer_file: "part of a viewer program",
  archive_unsupported: "archive, picture or PDF: unpack it, or export the study as DICOM",
  not_readable: "could not be read from the disk: copy it again, or the study will be incomplete",
  encrypted: "encrypted: export it without encryption",
};

/**
 * @param {Uint8Array} head
 * @param {string[]} marks
 */
function startsWith(head, marks) {
  return marks.some((mark) => [...mark].every((sign, index) => head[index] === sign.charCodeAt(0)));
}

/**
 * The code of a file without a DICOM prefix that is plainly something else; null where nothing tells.
 * @param {Uint8Array} head
 * @param {string} path
 */
export function codeOf(head, path) {
  const name = (path.split(/[\\/]/).pop() ?? "").toLowerCase();
  const suffix = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1) : "";
  if (startsWith(head, ENCRYPTED)) return "encrypted";
  if (VIEWER_SUFFIXES.has(suffix)) return "viewer_file";
  if (startsWith(head, PACKED) || startsWith(head, PICTURES)) return "archive_unsupported";
  if (startsWith(head, PROGRAMS) || HELP.test(name)) return "viewer_file";
  return name.replace(/\..*$/, "") === "dicomdir" ? "dicomdir" : null;
}

/**
 * Looks into a file, reading no more of it than its header.
 * @param {Blob} file
 * @param {string} path
 * @returns {Promise<Finding>}
 */
export async function lookInto(file, path) {
  if (file.size === 0) return { kind: "left_out", code: "empty_file" };
  let head = await read(file, FIRST_READ);
  const prefixed = String.fromCharCode(...head.subarray(128, 132)) === "DICM";
  const code = prefixed ? null : codeOf(head, path);
  if (code) return { kind: "left_out", code };
  if (!looksLikeDicom(head)) return { kind: "left_out", code: "not_dicom" };
  for (;;) {
    try {
      const found = await readHeader(head, file.size);
      if (found.kind === "dicomdir") return { kind: "left_out", code: "dicomdir" };
      if (found.header.study) return { kind: "image", header: found.header };
      return prefixed ? { kind: "unreadable" } : { kind: "left_out", code: "not_dicom" };
    } catch (error) {
      if (error instanceof Malformed)
        return prefixed ? { kind: "unreadable" } : { kind: "left_out", code: "not_dicom" };
      if (!(error instanceof NeedMore)) throw error;
      if (error.until > LONGEST_READ) return { kind: "unreadable" };
      head = await read(file, Math.max(error.until, head.length * 4));
    }
  }
}

/**
 * @param {Blob} file
 * @param {number} length
 */
async function read(file, length) {
  return new Uint8Array(await file.slice(0, length).arrayBuffer());
}

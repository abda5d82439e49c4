// Going on with an upload that an earlier visit, another browser or another program left unfinished.

import { call } from "./api.js";

/**
 * @typedef {{ index: number, name: string, size: number, sha256: string | null }} Known a file as the server lists it
 * @typedef {import("./studies.js").Item} Item
 */

/**
 * The uploads that still wait for bytes.
 * @returns {Promise<Record<string, any>[]>}
 */
export async function unfinished() {
  const uploads = [];
  for (let cursor = ""; cursor !== null;) {
    const { body } = await call("GET", `/uploads?state=receiving&cursor=${encodeURIComponent(cursor)}`);
    uploads.push(...body.results);
    cursor = body.next;
  }
  return uploads;
}

/**
 * All files of an upload, in the order of its manifest.
 * @param {string} id
 * @returns {Promise<Known[]>}
 */
export async function filesOf(id) {
  const files = [];
  for (let cursor = ""; cursor !== null;) {
    const { body } = await call("GET", `/uploads/${id}/files?cursor=${encodeURIComponent(cursor)}`);
    files.push(...body.results);
    cursor = body.next;
  }
  return files;
}

/** @param {string} path */
function lastName(path) {
  return path.split(/[\\/]/).pop() ?? "";
}

/**
 * The chosen files in the order of the server's list, or null where they are not the same files. By digest where the
 * server knows it; else by size and name, as a folder may have been chosen one level higher this time.
 * @param {Known[]} known
 * @param {Item[]} items with their digests
 * @returns {Item[] | null}
 */
export function match(known, items) {
  if (known.length !== items.length) return null;
  /** @type {Map<string, Item[]>} */
  const shelves = new Map();
  for (const item of items) {
    const { sha256, path } = item;
    for (const key of [sha256, `${item.file.size} ${lastName(path)}`])
      shelves.set(key, [...(shelves.get(key) ?? []), item]);
  }
  const used = new Set();
  const ordered = [];
  for (const { name, size, sha256 } of known) {
    const shelf = shelves.get(sha256 ?? `${size} ${lastName(name)}`) ?? [];
    const fits = shelf.filter((item) => !used.has(item) && item.file.size === size);
    const best = fits.find(({ path }) => path === name) ?? fits.find(({ path }) => lastName(path) === lastName(name));
    const item = best ?? fits[0];
    if (!item) return null;
    used.add(item);
    ordered.push(item);
  }
  return ordered;
}

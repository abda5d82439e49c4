// Files out of inputs and drops: whole folders, past the hundred entries that Chrome hands out at a time.

/** @typedef {{ file: File, path: string }} Chosen */

/**
 * @param {Iterable<File>} files
 * @returns {Chosen[]}
 */
export function fromInput(files) {
  return Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/**
 * @param {DataTransfer} transfer
 * @param {(count: number) => void} tell called with the number of files found so far
 * @returns {Promise<Chosen[]>}
 */
export async function fromDrop(transfer, tell) {
  // the list is emptied when the event handler returns, so the entries are taken out first
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some(Boolean)) return fromInput(transfer.files);
  /** @type {Chosen[]} */
  const found = [];
  for (const entry of entries) if (entry) await walk(entry, found, tell);
  return found;
}

/**
 * @param {FileSystemEntry} entry
 * @param {Chosen[]} found
 * @param {(count: number) => void} tell
 */
async function walk(entry, found, tell) {
  if (entry.isFile) {
    const file = await fileOf(/** @type {FileSystemFileEntry} */ (entry));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    if (found.length % 100 === 0) tell(found.length);
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (let some = await batch(reader); some.length > 0; some = await batch(reader)) {
    for (const child of some) await walk(child, found, tell);
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/**
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
function batch(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

// From files to study cards: one card for each StudyInstanceUID, and whose it is by the headers.

/**
 * @typedef {import("./dicom.js").Header} Header
 * @typedef {import("./sniff.js").Finding} Finding
 * @typedef {import("./gather.js").Chosen} Chosen
 * @typedef {Chosen & { header: Header | null, sha256: string }} Item
 * @typedef {{ id: string, name: string, birthDate: string, sex: string, issuer: string }} Patient
 * @typedef {object} Study
 * @property {string} uid empty for files whose header does not say
 * @property {Item[]} items
 * @property {Patient[]} patients more than one means that the headers contradict each other
 * @property {string} studyDate
 * @property {string} description
 * @property {string} accession
 * @property {string[]} modalities
 * @property {number} series
 * @property {number} size bytes
 */

/**
 * Sorts what was found into studies and what is left out.
 * @param {Chosen[]} chosen
 * @param {Finding[]} findings in the same order
 * @returns {{ studies: Study[], leftOut: { path: string, code: string }[] }}
 */
export function sortOut(chosen, findings) {
  /** @type {Map<string, Item[]>} */
  const byStudy = new Map();
  /** @type {{ path: string, code: string }[]} */
  const leftOut = [];
  chosen.forEach(({ file, path }, index) => {
    const finding = findings[index];
    if (finding.kind === "left_out") {
      leftOut.push({ path, code: finding.code });
      return;
    }
    const header = finding.kind === "image" ? finding.header : null;
    const uid = header?.study ?? "";
    const items = byStudy.get(uid) ?? [];
    items.push({ file, path, header, sha256: "" });
    byStudy.set(uid, items);
  });
  const studies = Array.from(byStudy, ([uid, items]) => studyOf(uid, items));
  return { studies: studies.sort(inOrder), leftOut };
}

/**
 * @param {string} uid
 * @param {Item[]} items
 * @returns {Study}
 */
function studyOf(uid, items) {
  const headers = items.flatMap(({ header }) => (header ? [header] : []));
  items.sort((one, other) => (one.path < other.path ? -1 : 1));
  return {
    uid,
    items,
    patients: patientsOf(headers),
    studyDate: firstOf(headers, "studyDate"),
    description: firstOf(headers, "description"),
    accession: firstOf(headers, "accession"),
    modalities: [...new Set(headers.map(({ modality }) => modality).filter(Boolean))].sort(),
    series: new Set(headers.map(({ series }) => series)).size,
    size: items.reduce((sum, { file }) => sum + file.size, 0),
  };
}

/**
 * @param {Header[]} headers
 * @param {keyof Header} key
 */
function firstOf(headers, key) {
  return headers.find((header) => header[key])?.[key] ?? "";
}

/**
 * @param {Header[]} headers
 * @returns {Patient[]}
 */
function patientsOf(headers) {
  /** @type {Map<string, Patient>} */
  const found = new Map();
  for (const { patientId, issuer, patientName, birthDate, sex } of headers) {
    const patient = { id: patientId, issuer, name: patientName, birthDate, sex };
    const key = identityOf(patient);
    if (!found.has(key)) found.set(key, patient);
  }
  return [...found.values()];
}

/**
 * What tells one patient from another: id with issuer, name but for case and spaces, date of birth.
 * @param {Patient} patient
 */
function identityOf({ id, issuer, name, birthDate }) {
  const plain = name
    .split("=")[0]
    .toLowerCase()
    .replace(/[\^\s]+/g, " ")
    .trim();
  return JSON.stringify([id.trim(), issuer.trim(), plain, birthDate.trim()]);
}

/**
 * @param {Study} one
 * @param {Study} other
 */
function inOrder(one, other) {
  if (!one.uid || !other.uid) return one.uid ? -1 : 1;
  /** @param {Study} study */
  const key = ({ patients, studyDate, uid }) => [patients[0]?.name ?? "", studyDate, uid].join("\n");
  return key(one) < key(other) ? -1 : 1;
}

/**
 * How many different patients the studies are of.
 * @param {Study[]} studies
 */
export function countPatients(studies) {
  return new Set(studies.flatMap(({ patients }) => patients.map(identityOf))).size;
}

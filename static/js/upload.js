// The upload page: choose, look at what was found, confirm, send, follow.

import { Card } from "./card.js";
import { count } from "./format.js";
import { fromDrop, fromInput } from "./gather.js";
import { HandIn } from "./handin.js";
import { Hands } from "./hands.js";
import { showLeftOut } from "./leftout.js";
import { follow } from "./live.js";
import { Overall } from "./overall.js";
import { countPatients, sortOut } from "./studies.js";
import { showUnfinished } from "./unfinished.js";

/**
 * @typedef {import("./gather.js").Chosen} Chosen
 * @typedef {{ card: Card, handIn: HandIn, going: boolean }} Entry
 */

const BATCH = 48;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
function byId(id) {
  return /** @type {T} */ (document.getElementById(id));
}

const hands = { reading: new Hands(), cutting: new Hands() };
/** @type {Entry[]} */
let entries = [];
/** @type {Entry[]} waiting for their turn; one study is sent at a time, over several connections */
const queue = [];
let sending = false;
const overall = new Overall(say);
let choice = 0;

// --- saying things ------------------------------------------------------------------------------------------------

/** @param {string} text for a screen reader */
function say(text) {
  byId("spoken").textContent = text;
}

// --- choosing -----------------------------------------------------------------------------------------------------

for (const kind of ["folder", "files"]) {
  const input = /** @type {HTMLInputElement} */ (byId(kind));
  const button = /** @type {HTMLButtonElement} */ (byId(`choose-${kind}`));
  button.onclick = () => input.click();
  input.onchange = () => {
    const chosen = fromInput(input.files ?? []);
    input.value = ""; // so that choosing the same folder again is noticed
    take(chosen);
  };
  input.disabled = button.disabled = false; // only now does choosing do anything
}

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("choose").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("choose").classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  byId("choose").classList.remove("over");
  if (!event.dataTransfer) return;
  showReading("Looking through the folder…", null);
  try {
    take(await fromDrop(event.dataTransfer, (found) => showReading(`${count(found, "file")} found…`, null)));
  } catch {
    complain("What was dropped could not be read. Please use Choose folder instead.");
  }
});

/**
 * @param {string} text
 * @param {number | null} part 0 to 1, null while nobody knows how much there is
 */
function showReading(text, part) {
  byId("reading").hidden = false;
  byId("reading-text").textContent = text;
  const bar = byId("reading-bar");
  if (part === null) bar.removeAttribute("value");
  else bar.setAttribute("value", String(part));
}

/** @param {Chosen[]} chosen */
async function take(chosen) {
  const mine = ++choice;
  if (chosen.length === 0) {
    complain("There is no file in what you chose.");
    return;
  }
  try {
    const findings = await lookInto(chosen, mine);
    if (mine !== choice) return; // chosen anew meanwhile
    const { studies, leftOut } = sortOut(chosen, findings);
    byId("reading").hidden = true;
    showFound(studies, leftOut, chosen.length);
  } catch (error) {
    complain(error instanceof Error ? error.message : "The files could not be read.");
  }
}

/**
 * @param {Chosen[]} chosen
 * @param {number} mine
 */
async function lookInto(chosen, mine) {
  const findings = [];
  for (let at = 0; at < chosen.length && mine === choice; at += BATCH) {
    showReading(`Reading headers: ${at} of ${count(chosen.length, "file")}`, at / chosen.length);
    findings.push(...(await hands.reading.ask("look", chosen.slice(at, at + BATCH))));
  }
  return findings;
}

/** @param {string} sentence why nothing can be shown */
function complain(sentence) {
  byId("reading").hidden = true;
  showWarnings([sentence]);
  byId("found").hidden = false;
  byId("found-title").focus();
  say(sentence);
}

// --- what was found -----------------------------------------------------------------------------------------------

/**
 * @param {import("./studies.js").Study[]} studies
 * @param {{ path: string, code: string }[]} leftOut
 * @param {number} total
 */
function showFound(studies, leftOut, total) {
  const patients = countPatients(studies);
  entries = entries.filter(({ going }) => going);
  const fresh = studies.map((study) => newEntry(study, patients > 1));
  entries.push(...fresh);
  byId("cards").replaceChildren(...entries.map(({ card }) => card.element));
  showWarnings(warningsFor(studies, patients, leftOut));
  showLeftOut(leftOut);
  byId("found").hidden = false;
  showSend();
  byId("found-title").focus();
  say(
    `${count(studies.length, "study", "studies")} found in ${count(total, "file")}; ${count(leftOut.length, "file")} left out.`,
  );
  digestInTurn(fresh);
}

/**
 * @param {import("./studies.js").Study} study
 * @param {boolean} several
 * @returns {Entry}
 */
function newEntry(study, several) {
  const card = new Card(study, byId("card-template"), several);
  /** @type {Entry} */
  const entry = { card, handIn: new HandIn(study, hands.cutting, () => showEntry(entry)), going: false };
  card.tick.onchange = showSend;
  card.find(".pause").onclick = () => entry.handIn.pause();
  card.find(".resume").onclick = card.find(".again").onclick = () => line(entry);
  card.find(".anyway").onclick = () => {
    entry.handIn.allowDuplicate = true;
    line(entry);
  };
  card.find(".cancel").onclick = () => cancel(entry);
  return entry;
}

/**
 * @param {import("./studies.js").Study[]} studies
 * @param {number} patients
 * @param {{ path: string, code: string }[]} leftOut
 */
function warningsFor(studies, patients, leftOut) {
  const warnings = [];
  if (studies.length === 0) {
    warnings.push("No DICOM image was found. Choose the folder that the images were exported to, or the whole disc.");
  }
  if (patients > 1) {
    warnings.push(
      `There are ${patients} patients here. Each study is an upload by itself: check every name before you tick it.`,
    );
  }
  const lost = leftOut.filter(({ code }) => code === "not_readable").length;
  if (lost > 0) warnings.push(`${count(lost, "file")} could not be read from the disk. The study may be incomplete.`);
  return warnings;
}

/** @param {string[]} warnings */
function showWarnings(warnings) {
  const notes = warnings.map((text) => {
    const note = document.createElement("p");
    note.className = "note note-warning";
    note.textContent = text;
    return note;
  });
  byId("warnings").replaceChildren(...notes);
}

/** @param {Entry[]} fresh */
async function digestInTurn(fresh) {
  for (const { handIn } of fresh) {
    if (!entries.some((entry) => entry.handIn === handIn)) return;
    await handIn.digest().catch(() => {}); // told when it is sent
  }
}

// --- sending ------------------------------------------------------------------------------------------------------

function ticked() {
  return entries.filter(({ going, card }) => !going && card.tick.checked);
}

function showSend() {
  const asking = entries.filter(({ going }) => !going);
  const chosen = ticked().length;
  const button = /** @type {HTMLButtonElement} */ (byId("send"));
  byId("send-panel").hidden = asking.length === 0;
  button.disabled = chosen === 0;
  button.textContent = asking.length > 1 && chosen > 0 ? `Upload ${count(chosen, "study", "studies")}` : "Upload";
  byId("send-hint").textContent = chosen === 0 ? "Tick each study that you have checked." : "";
}

byId("send").onclick = () => {
  const clinic = /** @type {HTMLSelectElement} */ (byId("clinic"));
  if (!clinic.value) {
    clinic.reportValidity();
    clinic.focus();
    return;
  }
  for (const entry of ticked()) {
    entry.going = true;
    entry.card.start();
    line(entry);
  }
  showSend();
  showAll();
};

/** @param {Entry} entry */
function line(entry) {
  if (!queue.includes(entry)) queue.push(entry);
  entry.handIn.queue();
  entry.card.show(entry.handIn);
  if (!sending) sendInTurn();
}

async function sendInTurn() {
  sending = true;
  const clinic = /** @type {HTMLSelectElement} */ (byId("clinic")).value;
  for (let entry = queue.shift(); entry; entry = queue.shift()) {
    const { card, handIn } = entry;
    if (handIn.stage !== "queued") continue; // paused or cancelled meanwhile
    await handIn.run({ clinic, level: card.level, history: card.history });
    showEntry(entry);
    if (handIn.arrived) received(entry);
  }
  sending = false;
}

/** @param {Entry} entry */
function received({ card, handIn }) {
  showUnfinished(ownIds());
  const refresh = async () => {
    const told = await card.showTruth(handIn.id);
    if (told) say(told);
  };
  refresh();
  follow(handIn.id, refresh);
}

/** @param {Entry} entry */
async function cancel(entry) {
  const { card, handIn } = entry;
  if (!confirm(`Cancel the upload of ${card.name}? What has arrived of it is removed.`)) return;
  try {
    await handIn.cancel();
  } catch {
    card.warn("The server could not be told; the upload is given up there by itself if nothing more arrives.");
  }
  showEntry(entry);
}

function ownIds() {
  return new Set(entries.map(({ handIn }) => handIn.id).filter(Boolean));
}

// --- progress -----------------------------------------------------------------------------------------------------

/** @type {Set<Entry>} */
const stale = new Set();

/**
 * Shown with the next frame: thousands of files report more often than a screen can follow.
 * @param {Entry} entry
 */
function showEntry(entry) {
  if (!entry.going) return;
  if (stale.size === 0) setTimeout(showStale, 100);
  stale.add(entry);
}

function showAll() {
  overall.show(
    entries.filter(({ going, handIn }) => going && handIn.stage !== "cancelled").map(({ handIn }) => handIn),
  );
}

function showStale() {
  for (const { card, handIn } of stale) card.show(handIn);
  stale.clear();
  showAll();
}

addEventListener("beforeunload", (event) => {
  if (!entries.some(({ going, handIn }) => going && handIn.atRisk)) return;
  event.preventDefault();
  event.returnValue = "unsafe"; // what browsers before 2024 go by
});

showUnfinished(new Set());

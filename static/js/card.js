// One study card: whose study it is by the headers, the person's tick, and then how far it has come.

import { bytes, count, dicomDate, duration, personName, sexOf } from "./format.js";
import { fetchPage } from "./live.js";
import { localise, localTime } from "./times.js";

/**
 * @typedef {import("./studies.js").Study} Study
 * @typedef {import("./studies.js").Patient} Patient
 * @typedef {import("./handin.js").HandIn} HandIn
 */

/** @type {Record<string, [string, string, string]>} */
const STAGES = {
  queued: ["Waiting for its turn", "waiting", "waiting"],
  digesting: ["Reading the files", "received", "checking"],
  opening: ["Opening the upload", "received", "receiving"],
  waiting: ["Waiting for the network", "waiting", "waiting"],
  sending: ["Uploading", "received", "receiving"],
  paused: ["Paused", "waiting", "held"],
  sealing: ["Finishing", "received", "receiving"],
  received: ["Received", "received", "received"],
  stopped: ["Stopped", "failed", "failed"],
  known: ["Handed in before", "waiting", "held"],
  cancelled: ["Cancelled", "ended", "ended"],
};

/**
 * @param {string} sign
 * @returns {SVGElement}
 */
export function icon(sign) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${sign}`);
  svg.append(use);
  return svg;
}

/** @param {Patient} patient */
function born({ birthDate, sex }) {
  return [birthDate ? dicomDate(birthDate) : "not given", sex ? sexOf(sex) : ""].filter(Boolean).join(", ");
}

/**
 * @param {Study} study
 * @returns {[string, string][]}
 */
function factsOf(study) {
  const patient = study.patients[0];
  const what = [study.modalities.join(", "), study.description].filter(Boolean).join(" · ");
  const images = count(study.items.length, "image");
  const found = study.uid ? `${count(study.series, "series", "series")}, ${images}` : count(study.items.length, "file");
  return [
    ...(patient
      ? /** @type {[string, string][]} */ ([
          ["Patient ID", patient.id || "none"],
          ["Born", born(patient)],
          ["Study date", study.studyDate ? dicomDate(study.studyDate) : "not given"],
          ["Study", what || "no description"],
        ])
      : []),
    ...(study.accession ? /** @type {[string, string][]} */ ([["Accession", study.accession]]) : []),
    ["Found", found],
    ["Size", bytes(study.size)],
  ];
}

let numbered = 0;

export class Card {
  /**
   * @param {Study} study
   * @param {HTMLTemplateElement} template
   * @param {boolean} several whether the hand-in holds more than one patient
   */
  constructor(study, template, several) {
    this.study = study;
    this.element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.number = ++numbered;
    this.element.classList.toggle("other-patient", several);
    this.#describe();
    this.#label();
    this.#warn();
  }

  /**
   * @template {HTMLElement} T
   * @param {string} selector
   * @returns {T}
   */
  find(selector) {
    return /** @type {T} */ (this.element.querySelector(selector));
  }

  get name() {
    return this.study.uid ? personName(this.study.patients[0]?.name ?? "") : "Files that could not be read";
  }

  /** @returns {HTMLInputElement} */
  get tick() {
    return this.find(".confirmed");
  }

  get level() {
    return /** @type {HTMLInputElement} */ (this.find("input[type=radio]:checked")).value;
  }

  get history() {
    return /** @type {HTMLTextAreaElement} */ (this.find("textarea")).value.trim();
  }

  #describe() {
    this.find(".patient").textContent = this.name;
    const rows = factsOf(this.study).map(([term, value]) => {
      const row = document.createElement("div");
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = term;
      dd.textContent = value;
      row.append(dt, dd);
      return row;
    });
    this.find(".facts").append(...rows);
  }

  /** Gives the fields of this card names of their own. */
  #label() {
    const id = `card-${this.number}`;
    this.find(".patient").id = id;
    this.element.setAttribute("aria-labelledby", id);
    for (const radio of this.element.querySelectorAll("input[type=radio]")) radio.setAttribute("name", `level-${id}`);
    this.find("textarea").id = `history-${id}`;
    this.find(".history-label").setAttribute("for", `history-${id}`);
    this.find(".going > progress").setAttribute("aria-labelledby", id);
  }

  #warn() {
    const { uid, patients } = this.study;
    if (!uid) {
      this.warn("These files say they are DICOM, but which study they belong to cannot be read. They may be damaged.");
    }
    if (patients.length > 1) {
      const names = patients.map(
        (patient) => `${personName(patient.name)} (${patient.id || "no ID"}, born ${born(patient)})`,
      );
      this.warn(
        `This one study names ${patients.length} patients: ${names.join("; ")}. It will be held for staff to decide.`,
      );
    }
  }

  /** @param {string} sentence */
  warn(sentence) {
    const note = document.createElement("p");
    note.className = "note note-warning";
    note.textContent = sentence;
    this.find(".card-warnings").append(note);
  }

  /** From asking to going. */
  start() {
    this.find(".ask").hidden = true;
    this.find(".going").hidden = false;
  }

  /** @param {HandIn} handIn */
  show(handIn) {
    const { stage } = handIn;
    const [word, tone, sign] = STAGES[stage];
    const badge = this.find(".phase-badge");
    if (badge.textContent !== word) {
      badge.className = `phase-badge badge tone-${tone}`;
      badge.replaceChildren(icon(sign), word);
    }
    const bar = /** @type {HTMLProgressElement} */ (this.find(".going > progress"));
    bar.max = Math.max(1, handIn.size);
    bar.value = stage === "digesting" ? handIn.digested : handIn.sent;
    bar.hidden = ["known", "cancelled"].includes(stage);
    this.find(".figures").textContent = figures(handIn);
    this.#buttons(handIn);
    this.#continued(handIn);
    this.#trouble(handIn);
  }

  /** @param {HandIn} handIn */
  #buttons({ stage, moving }) {
    this.find(".pause").hidden = !moving;
    this.find(".resume").hidden = stage !== "paused";
    this.find(".again").hidden = stage !== "stopped";
    this.find(".anyway").hidden = stage !== "known";
    this.find(".cancel").hidden = ["cancelled", "received", "known"].includes(stage);
  }

  /**
   * What was entered now has no effect on an upload that exists already; that must not go unsaid.
   * @param {HandIn} handIn
   */
  #continued({ resumed, id }) {
    const note = this.find(".continued");
    if (!resumed || !note.hidden) return;
    const link = document.createElement("a");
    link.href = `/uploads/${id}/`;
    link.textContent = `the upload begun ${localTime(new Date(resumed.begun), "minutes")}`;
    note.append(
      "This goes on with ",
      link,
      `. Its service level is ${this.#levelName(resumed.level)}; it and the clinical history stay as they were given then. ` +
        "To change them, cancel it and begin anew.",
    );
    note.hidden = false;
  }

  /** @param {string} level */
  #levelName(level) {
    const radio = this.element.querySelector(`input[type=radio][value="${CSS.escape(level)}"]`);
    return radio?.parentElement?.textContent?.trim() || level;
  }

  /** @param {HandIn} handIn */
  #trouble({ stage, sentence, earlier }) {
    const note = this.find(".trouble");
    note.hidden = stage !== "stopped" && stage !== "known";
    if (note.hidden) return;
    note.className = `note ${stage === "known" ? "note-warning" : "note-error"} trouble`;
    note.textContent = stage === "known" ? `${sentence} Nothing was sent now. ` : sentence;
    if (!earlier || stage !== "known") return;
    const link = document.createElement("a");
    link.href = `/uploads/${earlier}/`;
    link.textContent = "Look at the earlier upload";
    note.append(link, ".");
  }

  /**
   * The server's own words on where the upload stands, from its page.
   * @param {string} id
   */
  async showTruth(id) {
    const page = await fetchPage(`/uploads/${id}/`);
    const truth = page?.getElementById("truth");
    if (!truth) return "";
    const node = document.adoptNode(truth);
    node.removeAttribute("id");
    localise(node);
    const link = document.createElement("a");
    link.href = `/uploads/${id}/`;
    link.textContent = "Open the page of this upload";
    const row = document.createElement("p");
    row.append(link);
    const place = this.find(".follow");
    const before = place.querySelector(".sentence")?.textContent;
    place.replaceChildren(node, row);
    place.hidden = false;
    this.find(".going").hidden = true;
    const sentence = place.querySelector(".sentence")?.textContent ?? "";
    return sentence === before ? "" : `${this.name}: ${node.dataset.state}. ${sentence}`;
  }
}

/**
 * @param {HandIn} handIn
 * @returns {string}
 */
export function figures(handIn) {
  const { stage, size, sent, digested, rate } = handIn;
  if (stage === "known") return "";
  if (stage === "queued") return "It is sent after the studies before it.";
  if (stage === "digesting") return `${percent(digested, size)} of ${bytes(size)} read. Nothing has been sent yet.`;
  if (stage === "waiting") {
    const at = localTime(new Date(handIn.retryAt), "clock");
    return `${handIn.sentence} Tried again at ${at}, or as soon as the network is back. ${bytes(sent)} of ${bytes(size)} are safe.`;
  }
  if (stage === "received") return "All of it is on the server. It has not been delivered yet.";
  if (stage === "cancelled") return "Nothing more is sent.";
  const done = `${bytes(sent)} of ${bytes(size)}`;
  if (stage !== "sending" || !rate) return done;
  return [done, `${bytes(rate)}/s`, `${duration((size - sent) / rate)} left`].join(" · ");
}

/**
 * @param {number} part
 * @param {number} whole
 */
export function percent(part, whole) {
  return `${whole > 0 ? Math.floor((part / whole) * 100) : 100} %`;
}

// Figures, dates and names as people read them.

const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** @param {number} size */
export function bytes(size) {
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${unit === 0 && size === 1 ? "byte" : UNITS[unit]}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `${Math.round(seconds / 5) * 5} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  return `${hours} h ${Math.round((seconds - hours * 3600) / 60)} min`;
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
}

/**
 * A DICOM person name: its alphabetic form, family name first, and the others in brackets (PS3.5 6.2.1).
 * @param {string} name
 */
export function personName(name) {
  const forms = name.split("=").map(oneForm).filter(Boolean);
  if (forms.length === 0) return "No name";
  return forms.length === 1 ? forms[0] : `${forms[0]} (${forms.slice(1).join(", ")})`;
}

/** @param {string} form */
function oneForm(form) {
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = form.split("^").map((part) => part.trim());
  const rest = [prefix, given, middle].filter(Boolean).join(" ");
  const name = [family, rest].filter(Boolean).join(", ");
  return [name, suffix].filter(Boolean).join(", ");
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * A DICOM date (YYYYMMDD, or the old YYYY.MM.DD) as 3 Feb 1961; anything else as it stands.
 * @param {string} date
 */
export function dicomDate(date) {
  const match = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(date.trim());
  if (!match || Number(match[2]) < 1 || Number(match[2]) > 12) return date;
  return `${Number(match[3])} ${MONTHS[Number(match[2]) - 1]} ${match[1]}`;
}

/** @type {Record<string, string>} */
const SEXES = { M: "male", F: "female", O: "other" };

/** @param {string} sex */
export function sexOf(sex) {
  return SEXES[sex.toUpperCase()] ?? sex;
}

// From files to study cards, and from chosen files back to an unfinished upload.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { bytes, count, dicomDate, duration, personName } from "../../static/js/format.js";
import { match } from "../../static/js/resume.js";
import { countPatients, sortOut } from "../../static/js/studies.js";

const JANE = { patientName: "Doe^Jane", patientId: "P1", issuer: "", birthDate: "19610203", sex: "F" };
const PLACE = {
  study: "1.1",
  series: "1.1.1",
  sopInstance: "1",
  modality: "CT",
  studyDate: "",
  description: "",
  accession: "",
};

/**
 * @param {object[]} headers
 * @returns {ReturnType<typeof sortOut>}
 */
function sorted(...headers) {
  const chosen = headers.map((_, index) => ({
    file: new File(["x".repeat(index + 1)], `IM${index}`),
    path: `CD/IM${index}`,
  }));
  return sortOut(
    chosen,
    headers.map((header) =>
      "code" in header || "kind" in header ? header : { kind: "image", header: { ...JANE, ...PLACE, ...header } },
    ),
  );
}

describe("sorting out", () => {
  it("makes one card for each study", () => {
    const { studies } = sorted({}, { series: "1.1.2", modality: "SR" }, { study: "2.2" });
    assert.deepEqual(
      studies.map(({ uid }) => uid),
      ["1.1", "2.2"],
    );
    const [first] = studies;
    assert.equal(first.items.length, 2);
    assert.equal(first.series, 2);
    assert.deepEqual(first.modalities, ["CT", "SR"]);
    assert.equal(first.size, 3);
    assert.equal(countPatients(studies), 1);
  });

  it("counts patients by id, name and date of birth, not by how they are written", () => {
    const written = sorted({}, { study: "2", patientName: "DOE^JANE " }, { study: "3", patientName: "Doe Jane" });
    assert.equal(countPatients(written.studies), 1);
    const others = sorted({}, { study: "2", patientId: "P2" }, { study: "3", birthDate: "19610204" });
    assert.equal(countPatients(others.studies), 3);
  });

  it("shows a study with two identities", () => {
    const { studies } = sorted({}, { patientName: "Roe^Richard", patientId: "P2" });
    assert.deepEqual(
      studies[0].patients.map(({ id }) => id),
      ["P1", "P2"],
    );
  });

  it("lists what is left out, and keeps the unreadable last", () => {
    const { studies, leftOut } = sorted({ kind: "unreadable" }, {}, { kind: "left_out", code: "dicomdir" });
    assert.deepEqual(
      studies.map(({ uid }) => uid),
      ["1.1", ""],
    );
    assert.deepEqual(leftOut, [{ path: "CD/IM2", code: "dicomdir" }]);
  });
});

describe("matching an unfinished upload", () => {
  /**
   * @param {string} path
   * @param {string} content
   * @param {string} sha256
   */
  const item = (path, content, sha256) => ({
    file: new File([content], path.split("/").pop()),
    path,
    sha256,
    header: null,
  });
  const items = [item("disc/b/IM1", "bb", "B"), item("disc/a/IM1", "aa", "A"), item("disc/c/IM2", "ccc", "C")];

  it("puts the files in the order of the server's list", () => {
    const known = [
      { index: 0, name: "a/IM1", size: 2, sha256: "A" },
      { index: 1, name: "b/IM1", size: 2, sha256: "B" },
      { index: 2, name: "c/IM2", size: 3, sha256: "C" },
    ];
    assert.deepEqual(
      match(known, items)?.map(({ sha256 }) => sha256),
      ["A", "B", "C"],
    );
  });

  it("goes by size and name where the server knows no digest yet", () => {
    const known = [
      { index: 0, name: "x/IM2", size: 3, sha256: null },
      { index: 1, name: "x/IM1", size: 2, sha256: null },
      { index: 2, name: "y/IM1", size: 2, sha256: null },
    ];
    assert.deepEqual(new Set(match(known, items)?.map(({ sha256 }) => sha256)), new Set(["A", "B", "C"]));
  });

  it("takes nothing for the same that differs by a byte, a file or a name", () => {
    const known = (change) =>
      items.map(({ file, path, sha256 }, index) => ({ index, name: path, size: file.size, sha256, ...change }));
    assert.equal(match(known({ sha256: "D" }), items), null);
    assert.equal(match(known({}).slice(1), items), null);
    assert.equal(match([...known({}).slice(1), known({})[1]], items), null);
    assert.equal(match(known({ sha256: null, name: "IM9" }), items), null);
    assert.notEqual(match(known({}), items), null);
  });
});

describe("words", () => {
  it("gives sizes, durations and counts as people read them", () => {
    assert.deepEqual([0, 1, 999, 1000, 12_345_678, 315e6, 2.5e9].map(bytes), [
      "0 bytes",
      "1 byte",
      "999 bytes",
      "1.0 KB",
      "12.3 MB",
      "315 MB",
      "2.5 GB",
    ]);
    assert.deepEqual([3, 42, 600, 7300, Infinity].map(duration), ["a few seconds", "40 s", "10 min", "2 h 2 min", ""]);
    assert.deepEqual([count(1, "study", "studies"), count(1200, "file")], ["1 study", "1,200 files"]);
  });

  it("gives names and dates of the Standard as people read them", () => {
    assert.equal(personName("Doe^Jane^Ann^Dr^MD"), "Doe, Dr Jane Ann, MD");
    assert.equal(personName("Yamada^Tarou=山田^太郎=やまだ^たろう"), "Yamada, Tarou (山田, 太郎, やまだ, たろう)");
    assert.equal(personName(""), "No name");
    assert.equal(dicomDate("19610203"), "3 Feb 1961");
    assert.equal(dicomDate("1961.02.03"), "3 Feb 1961");
    assert.equal(dicomDate("unknown"), "unknown");
  });
});

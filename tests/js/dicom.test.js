// The header reader, over small files in every encoding.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deflateRawSync } from "node:zlib";

import { decode } from "../../static/js/charset.js";
import { looksLikeDicom, Malformed, NeedMore, readHeader } from "../../static/js/dicom.js";
import { lookInto } from "../../static/js/sniff.js";
import { dataSet, element, elements, EXPLICIT, file, join, meta } from "./building.js";

const IMPLICIT = "1.2.840.10008.1.2";
const BIG = "1.2.840.10008.1.2.2";
const DEFLATED = "1.2.840.10008.1.2.1.99";

/** @param {Uint8Array} bytes */
async function headerOf(bytes) {
  const found = await readHeader(bytes, bytes.length);
  assert.equal(found.kind, "dicom");
  return found.header;
}

/** @param {Record<string, string>} header */
function assertJane(header) {
  const { study, series, sopInstance, patientName, patientId, birthDate, sex, studyDate, modality, description } =
    header;
  assert.deepEqual(
    { study, series, sopInstance, patientName, patientId, birthDate, sex, studyDate, modality, description },
    {
      study: "1.2.3",
      series: "1.2.3.1",
      sopInstance: "1.2.3.1.1",
      patientName: "Doe^Jane",
      patientId: "P1",
      birthDate: "19610203",
      sex: "F",
      studyDate: "20240229",
      modality: "CT",
      description: "Head",
    },
  );
}

describe("the header reader", () => {
  it("reads explicit little endian", async () => assertJane(await headerOf(file())));

  it("reads implicit little endian", async () =>
    assertJane(await headerOf(join(meta(IMPLICIT), dataSet(elements(), { implicit: true })))));

  it("reads explicit big endian", async () =>
    assertJane(await headerOf(join(meta(BIG), dataSet(elements(), { big: true })))));

  it("reads a deflated data set", async () =>
    assertJane(await headerOf(join(meta(DEFLATED), deflateRawSync(dataSet(elements()))))));

  it("reads a deflated data set of which only the beginning is at hand", async () => {
    const long = [...elements(), { tag: 0x7fe10010, vr: "OB", value: crypto.getRandomValues(new Uint8Array(60_000)) }];
    const bytes = join(meta(DEFLATED), deflateRawSync(dataSet(long)));
    const found = await readHeader(bytes.subarray(0, 8192), bytes.length);
    assertJane(found.header);
  });

  it("reads a file without preamble, explicit or implicit", async () => {
    assertJane(await headerOf(dataSet(elements())));
    assertJane(await headerOf(dataSet(elements(), { implicit: true })));
    assertJane(await headerOf(file().slice(132)));
  });

  for (const implicit of [false, true]) {
    it(`steps over sequences of undefined length, nested ones too (implicit: ${implicit})`, async () => {
      const inner = {
        tag: 0x00081199,
        vr: "SQ",
        value: [[{ tag: 0x00081155, vr: "UI", value: "7.7" }]],
        undefinedLength: true,
      };
      const nested = { tag: 0x00081115, vr: "SQ", value: [[inner], []], undefinedLength: true };
      const list = [...elements(), nested].sort((one, other) => one.tag - other.tag);
      assertJane(await headerOf(join(meta(implicit ? IMPLICIT : EXPLICIT), dataSet(list, { implicit }))));
    });
  }

  it("reads UN of undefined length as implicit", async () => {
    const inside = element({ tag: 0x00081155, vr: "UI", value: "7.7" }, { implicit: true });
    const un = join(
      [0x09, 0, 0x10, 0x10, 0x55, 0x4e, 0, 0, 255, 255, 255, 255],
      [0xfe, 0xff, 0, 0xe0, 255, 255, 255, 255],
      inside,
      [0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0, 0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0],
    );
    const all = elements();
    const head = dataSet(all.filter(({ tag }) => tag < 0x00090000));
    const rest = dataSet(all.filter(({ tag }) => tag > 0x00090000));
    assertJane(await headerOf(join(meta(EXPLICIT), head, un, rest)));
  });

  it("says how much more it needs, and reads no more than the header", async () => {
    const thumbnail = { tag: 0x00091010, vr: "OB", value: new Uint8Array(100_000) };
    const list = [...elements(), thumbnail].sort((one, other) => one.tag - other.tag);
    const bytes = join(meta(EXPLICIT), dataSet(list));
    await assert.rejects(readHeader(bytes.subarray(0, 4096), bytes.length), NeedMore);
    assertJane(await headerOf(bytes));
    // cut right after SeriesInstanceUID: the pixels were never asked for
    const cut = file();
    assertJane((await readHeader(cut.subarray(0, cut.length - 10), cut.length)).header);
  });

  it("refuses what ends too early or is no data set", async () => {
    const bytes = file();
    let refused = 0;
    for (let end = 133; end < bytes.length - 32; end++) {
      try {
        // an end between two elements is no fault of the encoding, but the series is not there
        const { header } = await readHeader(bytes.subarray(0, end), end);
        assert.equal(header.series, "");
      } catch (error) {
        assert.ok(error instanceof Malformed);
        refused++;
      }
    }
    assert.ok(refused > 150);
    const nonsense = join(meta(EXPLICIT), new Uint8Array(64).fill(0x11));
    await assert.rejects(readHeader(nonsense, nonsense.length), Malformed);
  });

  it("is not led astray by sequences within sequences without end", async () => {
    const opening = [
      0x08, 0, 0x15, 0x11, 0x53, 0x51, 0, 0, 255, 255, 255, 255, 0xfe, 0xff, 0, 0xe0, 255, 255, 255, 255,
    ];
    const bytes = join(meta(EXPLICIT), ...new Array(5000).fill(opening));
    await assert.rejects(readHeader(bytes, bytes.length), Malformed);
  });

  it("knows a DICOMDIR", async () => {
    const bytes = join(meta(EXPLICIT, "1.2.840.10008.1.3.10"), dataSet(elements()));
    assert.deepEqual(await readHeader(bytes, bytes.length), { kind: "dicomdir" });
  });

  it("does not take text for DICOM", () => {
    for (const text of ["", "short", "Hello, this is a read-me file.", '{"json": true, "and": [1, 2]}']) {
      assert.equal(looksLikeDicom(new TextEncoder().encode(text)), false);
    }
  });
});

/** @param {string} text one character for each byte */
const bytesOf = (text) => Uint8Array.from(text, (sign) => sign.charCodeAt(0));

describe("text of a header", () => {
  for (const [charset, raw, expected] of [
    ["", "Doe^Jane ", "Doe^Jane"],
    ["ISO_IR 6", "Doe^Jane\0", "Doe^Jane"],
    ["ISO_IR 100", "Buc^J\xe9r\xf4me", "Buc^Jérôme"],
    ["ISO_IR 192", Buffer.from("Łukasz^Ærø").toString("latin1"), "Łukasz^Ærø"],
    ["ISO_IR 144", "\xbb\xee\xda", "Люк"],
    ["ISO_IR 126", "\xc4\xe9\xef", "Διο"],
    ["ISO_IR 127", "\xe2\xc8", "قب"],
    ["ISO_IR 138", "\xf9\xf8", "שר"],
    ["ISO_IR 166", "\xca\xc1", "สม"],
    ["ISO_IR 13", "\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"],
    ["GB18030", "Wang^=\xcd\xf5", "Wang^=王"],
    ["\\ISO 2022 IR 87", "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎"],
    ["\\ISO 2022 IR 149", "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"],
    ["ISO 2022 IR 6\\ISO 2022 IR 100", "\x1b-ABuc^J\xe9r\xf4me", "Buc^Jérôme"],
  ]) {
    it(`is decoded as ${charset || "the default"}: ${expected}`, () => {
      assert.equal(decode(bytesOf(raw), charset), expected);
    });
  }
});

describe("looking into a file", () => {
  /**
   * @param {string | Uint8Array} content
   * @param {string} path
   */
  const look = (content, path) => lookInto(new Blob([content]), path);

  it("finds the image", async () => {
    const found = await look(file(), "CD/IM0001");
    assert.equal(found.kind, "image");
    assertJane(found.header);
  });

  it("reads on past a long private element", async () => {
    const icon = { tag: 0x00091010, vr: "OB", value: new Uint8Array(300_000) };
    const list = [...elements(), icon].sort((one, other) => one.tag - other.tag);
    assertJane((await look(join(meta(EXPLICIT), dataSet(list)), "IM1")).header);
  });

  for (const [what, content, path, code] of [
    ["an empty file", "", "IM2", "empty_file"],
    ["text", "nothing to see here, move along please", "notes", "not_dicom"],
    ["a read-me", "nothing to see here", "CD/README.TXT", "viewer_file"],
    ["autorun", "[autorun]", "AUTORUN.INF", "viewer_file"],
    ["a program", "MZ\x90\x00", "viewer/start", "viewer_file"],
    ["a library", "whatever", "viewer\\core.dll", "viewer_file"],
    ["a ZIP", "PK\x03\x04....", "study.zip", "archive_unsupported"],
    ["a PDF", "%PDF-1.7 ...", "report.pdf", "archive_unsupported"],
    ["a DICOMDIR without prefix", "rubbish", "CD/DICOMDIR", "dicomdir"],
    ["an encrypted file", "-----BEGIN PGP MESSAGE-----", "IM3", "encrypted"],
  ]) {
    it(`leaves out ${what}`, async () => {
      assert.deepEqual(await look(content, path), { kind: "left_out", code });
    });
  }

  it("keeps DICOM whose study cannot be read apart", async () => {
    assert.deepEqual(await look(file().slice(0, 250), "IM4"), { kind: "unreadable" });
    assert.deepEqual(await look(file({ study: "" }), "IM5"), { kind: "unreadable" });
  });
});

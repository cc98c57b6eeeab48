// DOT on standard input to SVG on standard output; the argument is the folder of packages. Warnings (of letters whose width is estimated) are ignored.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { instance } = createRequire(`${process.argv[2]}/`)("@viz-js/viz");
const graphviz = await instance();
const result = graphviz.render(readFileSync(0, "utf8"), { format: "svg" });
if (result.status !== "success") {
  process.stderr.write(result.errors.map((error) => error.message).join("\n"));
  process.exitCode = 1;
} else {
  process.stdout.write(result.output);
}

/**
 * Reads the JUnit reports of the three test runners into one shape.
 *
 * They differ: Bun nests suites below one per file, Node nests them without,
 * Deno gives every step its whole path and lists the `describe`s as cases too.
 * What counts as a test is the same here for all: an `it`, named by its path.
 *
 * @module
 */

const TAG = /<(\/?)(testsuite|testcase|failure|error|skipped)((?:\s+[\w-]+="[^"]*")*)\s*(\/?)>/g;
const ATTRIBUTE = /([\w-]+)="([^"]*)"/g;
const ENTITIES = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

/**
 * @returns the tests, each `{ path, outcome: "passed" | "failed" | "skipped", detail }`;
 * `detail` is the failure's message or the reason of the skip, where the runner tells it.
 */
export function parseJunit(xml) {
  const suites = [];
  const tests = [];
  let open;
  for (const [, closing, tag, text, selfClosing] of xml.matchAll(TAG)) {
    const attributes = attributesOf(text);
    if (tag === "testsuite") {
      if (closing) suites.pop();
      else if (!selfClosing) suites.push(isFile(attributes) ? undefined : attributes.name);
    } else if (tag === "testcase") {
      if (closing) continue;
      const path = [...suites.filter(Boolean), attributes.name].join(" > ");
      open = { path, outcome: "passed", detail: "" };
      tests.push(open);
    } else if (!closing && open) {
      open.outcome = tag === "skipped" ? "skipped" : "failed";
      open.detail = attributes.message ?? "";
    }
  }
  return withoutParents(tests);
}

/**
 * How long the tests of each file took, in seconds. Bun and Node name the file of
 * each test; Deno lists what a file calls at its top under its name, steps included.
 *
 * @returns a Map by path, `test/…`.
 */
export function fileSeconds(xml) {
  const seconds = new Map();
  let suite;
  for (const [, closing, tag, text] of xml.matchAll(TAG)) {
    if (closing) continue;
    const { name, file, time } = attributesOf(text);
    if (tag === "testsuite") suite = name;
    if (tag !== "testcase") continue;
    const path = /(?:^|\/)(test\/.*)$/.exec(file ?? suite ?? "")?.[1];
    if (path) seconds.set(path, (seconds.get(path) ?? 0) + Number(time ?? 0));
  }
  return seconds;
}

/** Bun and Deno make a suite of each file; Deno also of the module that ran the steps. */
function isFile({ name, file }) {
  return name === file || /\.tsx?$/.test(name);
}

function withoutParents(tests) {
  const parents = new Set();
  for (const { path } of tests) {
    for (let at = path.indexOf(" > "); at !== -1; at = path.indexOf(" > ", at + 1)) {
      parents.add(path.slice(0, at));
    }
  }
  return tests.filter(({ path }) => !parents.has(path));
}

function attributesOf(text) {
  const pairs = [...text.matchAll(ATTRIBUTE)];
  return Object.fromEntries(pairs.map(([, name, value]) => [name, decode(value)]));
}

function decode(text) {
  return text.replaceAll(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (all, decimal, hex, name) => {
    if (decimal) return String.fromCodePoint(Number(decimal));
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16));
    return ENTITIES[name] ?? all;
  });
}

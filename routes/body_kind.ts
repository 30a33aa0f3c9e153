/**
 * How a body may be shown, by its content type.
 *
 * @module
 */

export type BodyKind = "json" | "text" | "binary";

const TEXT = new Set([
  "application/xml",
  "application/javascript",
  "application/ecmascript",
  "application/x-ndjson",
  "application/jsonl",
  "application/json-seq",
  "application/x-www-form-urlencoded", // what curl calls a body it knows nothing about
]);

/** Producers use few types, so the last few answers serve nearly every message. */
const known = new Map<string, BodyKind>();
const KNOWN_MAX = 256;

export function bodyKind(contentType: string | undefined): BodyKind {
  if (contentType === undefined) return "binary";
  const before = known.get(contentType);
  if (before !== undefined) return before;
  const kind = classify(contentType);
  if (known.size >= KNOWN_MAX) known.clear(); // types are a stranger's input: bounded
  known.set(contentType, kind);
  return kind;
}

function classify(contentType: string): BodyKind {
  const [type = "", ...parameters] = contentType.toLowerCase().split(";");
  if (!isUtf8(parameters)) return "binary";
  const essence = type.trim();
  if (essence === "application/json" || essence === "text/json" || essence.endsWith("+json")) {
    return "json";
  }
  const text = essence.startsWith("text/") || essence.endsWith("+xml") || TEXT.has(essence);
  return text ? "text" : "binary";
}

/** Text in another encoding may happen to be valid UTF-8 and would be shown as something else. */
function isUtf8(parameters: readonly string[]): boolean {
  for (const parameter of parameters) {
    const [name = "", value = ""] = parameter.split("=");
    if (name.trim() !== "charset") continue;
    return ["utf-8", "utf8", "us-ascii"].includes(value.trim().replaceAll('"', ""));
  }
  return true;
}

/**
 * Which form of an answer a reader asked for.
 *
 * @module
 */

export type PageForm = "json" | "ndjson" | "sse";

const FORMS = new Map<string, PageForm>([
  ["text/event-stream", "sse"],
  ["application/x-ndjson", "ndjson"],
  ["application/json", "json"],
  ["application/*", "json"],
  ["*/*", "json"],
]);

/** The form with the greatest weight, the first of equals; JSON when nothing we make was asked for. */
export function pageForm(accept: string | undefined): PageForm {
  let best: PageForm = "json";
  let bestWeight = 0;
  for (const range of accept?.split(",") ?? []) {
    const [type = "", ...parameters] = range.toLowerCase().split(";");
    const form = FORMS.get(type.trim());
    const weight = weightOf(parameters);
    if (form === undefined || weight <= bestWeight) continue;
    best = form;
    bestWeight = weight;
  }
  return best;
}

function weightOf(parameters: readonly string[]): number {
  for (const parameter of parameters) {
    const [name = "", value = ""] = parameter.split("=");
    if (name.trim() === "q") return Number(value) || 0;
  }
  return 1;
}

/**
 * Types of `runtimes.mjs` for the programs that import it.
 *
 * @module
 */

/** What each runtime is told in its environment, unless whoever starts it says otherwise. */
export const RUN_ENVIRONMENT: Readonly<
  Record<"bun" | "deno" | "node", Readonly<Record<string, string>>>
>;

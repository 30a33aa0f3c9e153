/**
 * Compiled filters by their text, the least recently used forgotten first: a
 * reader sends its filter with every page.
 *
 * @module
 */

import { compileFilter } from "./compile.ts";
import type { CompiledFilter, Filter } from "./filter.ts";

/** What the cache keeps; a compiled filter takes some ten bytes per character. */
const BOUNDS = { filters: 1000, characters: 256 * 1024 } as const;

export class FilterCache {
  readonly #filtersMax: number;
  readonly #charactersMax: number;
  /** Least recently used first. */
  readonly #compiled = new Map<string, CompiledFilter>();
  #characters = 0;

  constructor(bounds: { readonly filters?: number; readonly characters?: number } = {}) {
    this.#filtersMax = bounds.filters ?? BOUNDS.filters;
    this.#charactersMax = bounds.characters ?? BOUNDS.characters;
  }

  get size(): number {
    return this.#compiled.size;
  }

  /** As `compileFilter`. @throws `filter-invalid` */
  compile(filter: Filter): CompiledFilter {
    const key = "tag" in filter ? `t${filter.tag}` : `s${filter.sql}`;
    const known = this.#compiled.get(key);
    const compiled = known ?? compileFilter(filter);
    if (known) this.#compiled.delete(key);
    else this.#characters += key.length;
    this.#compiled.set(key, compiled);
    this.#evict();
    return compiled;
  }

  #evict(): void {
    for (const key of this.#compiled.keys()) {
      if (this.#compiled.size <= this.#filtersMax && this.#characters <= this.#charactersMax)
        return;
      this.#compiled.delete(key);
      this.#characters -= key.length;
    }
  }
}

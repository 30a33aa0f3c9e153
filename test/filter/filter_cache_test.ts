import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileFilter, FilterCache } from "../../src/filter/mod.ts";
import { TidegateError } from "../../storage/base/errors.ts";

const tag = (i: number) => ({ tag: `tag-${String(i).padStart(5, "0")}` });

describe("FilterCache", () => {
  it("compiles a text once, and tells tags from SQL", () => {
    const cache = new FilterCache();
    const one = cache.compile({ tag: "a" });
    assert.equal(cache.compile({ tag: "a" }), one);
    assert.notEqual(compileFilter({ tag: "a" }), one);
    const sql = cache.compile({ sql: "a" });
    assert.notEqual(sql, one);
    assert.equal(sql.matches({ tag: "a", properties: [["a", "true"]] }), true);
    assert.equal(cache.size, 2);
  });

  it("forgets the least recently used when it has its number", () => {
    const cache = new FilterCache({ filters: 3 });
    const [a, b] = [cache.compile(tag(0)), cache.compile(tag(1))];
    cache.compile(tag(2));
    assert.equal(cache.compile(tag(0)), a); // now the youngest
    cache.compile(tag(3));
    assert.equal(cache.size, 3);
    assert.equal(cache.compile(tag(0)), a);
    assert.notEqual(cache.compile(tag(1)), b);
  });

  it("is bounded in characters, so that long filters push out more", () => {
    const cache = new FilterCache({ characters: 100 });
    for (let i = 0; i < 50; i++) cache.compile(tag(i));
    assert.equal(cache.size, 10); // nine characters and the kind
    cache.compile({ sql: `a = '${"x".repeat(60)}'` });
    assert.equal(cache.size, 4);
    for (let i = 0; i < 50; i++) cache.compile(tag(i));
    assert.equal(cache.size, 10);
  });

  it("keeps a thousand unless told otherwise", () => {
    const cache = new FilterCache();
    for (let i = 0; i < 3000; i++) cache.compile(tag(i));
    assert.equal(cache.size, 1000);
    const long = "x".repeat(4000);
    for (let i = 0; i < 200; i++) cache.compile({ sql: `a = '${long}${i}'` });
    assert(cache.size < 70);
  });

  it("keeps nothing of what is no filter", () => {
    const cache = new FilterCache();
    assert.throws(() => cache.compile({ sql: "a =" }), TidegateError);
    assert.equal(cache.size, 0);
  });
});

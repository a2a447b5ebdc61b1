import { describe, expect, it } from "vitest"
import { Recovery } from "./recovery.ts"

/** The moments (ms) at which a part that always fails is tried, where something comes every `everyMs`. */
function tries(everyMs: number, endMs: number): number[] {
  const recovery = new Recovery()
  const found: number[] = []
  recovery.failed(0, 0)
  for (let nowMs = 0; nowMs <= endMs; nowMs += 500) {
    const heard = Math.floor(nowMs / everyMs)
    if (!recovery.isDue(nowMs, heard)) continue
    found.push(nowMs)
    recovery.failed(nowMs, heard)
  }
  return found
}

describe("a part of the page that failed", () => {
  it("is tried with the next thing that comes, after pauses that grow to a minute", () => {
    expect(tries(500, 200_000)).toEqual([1_000, 3_000, 7_000, 15_000, 31_000, 63_000, 123_000, 183_000])
  })

  it("is not tried while nothing comes", () => {
    expect(tries(20_000, 100_000)).toEqual([20_000, 40_000, 60_000, 80_000, 100_000])
    expect(tries(Infinity, 600_000)).toEqual([])
  })

  it("begins anew with a short pause where it stood well for a while", () => {
    const recovery = new Recovery()
    for (const nowMs of [0, 1_000, 3_000, 7_000]) recovery.failed(nowMs, 0)
    expect(recovery.isDue(14_000, 1)).toBe(false)
    recovery.failed(200_000, 0)
    expect(recovery.isDue(201_000, 1)).toBe(true)
  })
})

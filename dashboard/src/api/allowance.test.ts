import { expect, it } from "vitest"
import { Allowance } from "./allowance.ts"

const PACE = { quick: 8, shortMs: 1_500, longMs: 5_000, windowMs: 60_000 }

/** When each of those begins that follow each other as fast as they may. */
function begun(allowance: Allowance, count: number, fromMs = 0): number[] {
  const found: number[] = []
  for (let nowMs = fromMs; found.length < count; nowMs += allowance.take(nowMs)) found.push(nowMs)
  return found
}

it("a few moments may be asked for in a row, then fewer, and never more than twenty in any minute", () => {
  const all = begun(new Allowance(PACE), 60)
  expect(all.slice(0, 10)).toEqual([0, 1_500, 3_000, 4_500, 6_000, 7_500, 9_000, 10_500, 15_500, 20_500])
  for (const from of all) expect(all.filter((at) => at >= from && at < from + 60_000).length).toBeLessThan(20)
})

it("moments may be asked for in a row again where the hand rested for a minute", () => {
  const allowance = new Allowance(PACE)
  begun(allowance, 20)
  expect(begun(allowance, 3, 600_000)).toEqual([600_000, 601_500, 603_000])
})

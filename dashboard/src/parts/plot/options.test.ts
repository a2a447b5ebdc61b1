import { describe, expect, it } from "vitest"
import { optionsOf, within, type Plotted } from "./options.ts"

const PLOTTED: Plotted = {
  x: [0],
  lines: [],
  marks: [],
  limits: [0, 1],
  nameOf: String,
  valueOf: String,
}

describe("the vertical axis of a share", () => {
  it.each([
    [1, 1],
    [0.4, 1],
    [0, 0],
    [0, 1],
  ])("from %d to %d lies between 0 and 1, and has a height", (low, high) => {
    const [bottom, top] = within(low, high, [0, 1])
    expect(bottom).toBeGreaterThanOrEqual(0)
    expect(top).toBeLessThanOrEqual(1)
    expect(top - bottom).toBeGreaterThan(0)
  })

  it("is whole where there are no values", () => {
    expect(within(null, null, [0, 1])).toEqual([0, 1])
  })
})

it("the name of a mark has a place of its own above the lines, so that it lies on no point", () => {
  const top = (marks: Plotted["marks"]): unknown => optionsOf({ ...PLOTTED, marks }, 600, () => "").padding?.[0]
  expect(top([{ x: 0, name: "The record begins" }])).toBe(22)
  expect(top([])).toBeUndefined()
})

import { describe, expect, it } from "vitest"
import { MarketClock } from "./market-clock.ts"

const START = Date.parse("2025-01-03T12:00:00-05:00")

describe("market time", () => {
  it("is not known before the server has said it", () => {
    expect(new MarketClock().at(0)).toBeNull()
  })

  it("goes on by itself between two moments of the server", () => {
    const clock = new MarketClock()
    clock.observe(START, 1_000)
    expect(clock.at(4_500)).toBe(START + 3_500)
  })

  it("stays that of the real market though moments come late and without parts of a second", () => {
    const clock = new MarketClock()
    clock.observe(START, 900)
    clock.observe(START + 2_000, 3_400)
    clock.observe(START + 60_000, 61_700)
    clock.observe(START + 120_000, 120_050)
    expect(clock.at(121_000)).toBe(START + 120_950)
  })

  it("runs as fast as the server says", () => {
    const clock = new MarketClock()
    clock.runAt(75)
    for (const second of [0, 1, 2, 3, 4]) clock.observe(START + second * 75_000, second * 1_000)
    expect(clock.at(5_000)).toBe(START + 375_000)
  })

  it("begins anew where another server's clock runs at another speed", () => {
    const clock = new MarketClock()
    clock.runAt(75)
    clock.observe(START, 0)
    clock.runAt(1)
    expect(clock.at(1_000)).toBeNull()
    clock.observe(START - 60_000, 1_000)
    expect(clock.at(2_000)).toBe(START - 59_000)
  })

  it("goes on at its own speed after a leap, also within the first seconds", () => {
    const clock = new MarketClock()
    clock.observe(START, 0)
    clock.observe(START + 1_200_000, 10_000)
    expect(clock.at(190_000)).toBe(START + 1_380_000)
    clock.observe(START + 1_200_000, 190_000)
    expect(clock.at(191_000)).toBe(START + 1_201_000)
  })

  it("is not held back by answers that were made before they were given", () => {
    const clock = new MarketClock()
    clock.atLeast(START - 50_000, 0)
    expect(clock.at(0)).toBe(START - 50_000)
    clock.observe(START, 500)
    clock.atLeast(START - 45_000, 2_000)
    clock.observe(START + 30_000, 30_500)
    clock.atLeast(START - 20_000, 31_000)
    expect(clock.at(31_500)).toBe(START + 31_000)
  })

  it("jumps to the next morning as a demo does, and back as its year begins anew, at the same speed", () => {
    const clock = new MarketClock()
    clock.runAt(75)
    for (const second of [0, 1, 2]) clock.observe(START + second * 75_000, second * 1_000)
    for (const jump of [17 * 3_600_000, -300 * 86_400_000]) {
      clock.observe(START + jump, 10_000)
      expect(clock.at(11_000)).toBeCloseTo(START + jump + 75_000)
    }
  })
})

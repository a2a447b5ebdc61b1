import { describe, expect, it } from "vitest"
import { counted, dollars, NONE, shareInPercent, signed, signedDollars, signedPercent } from "./numbers.ts"
import {
  age,
  dayInWords,
  duration,
  fullHour,
  isoDay,
  newYorkDay,
  newYorkTime,
  spanInWords,
  wallMoment,
} from "./times.ts"
import { inWordsAtStart, partsOf, withoutMark } from "./words.ts"

describe("numbers", () => {
  it.each([
    [dollars(1460.5), "$1,460.50"],
    [dollars(0.994999), "$0.99"],
    [dollars(-1234567.125), "-$1,234,567.13"],
    [dollars(null), NONE],
    [signedDollars(1.149), "+$1.15"],
    [signedDollars(-1.15), "−$1.15"],
    [signedDollars(-0.001), "$0.00"],
    [signedPercent(-0.25), "−0.25%"],
    [signedPercent(0), "0.00%"],
    [shareInPercent(0.749), "74.9%"],
    [shareInPercent(null), NONE],
    [signed(-0.012226, 4), "−0.0122"],
    [counted(1, "day"), "1 day"],
    [counted(1426, "day"), "1,426 days"],
  ])("%s", (written, expected) => {
    expect(written).toBe(expected)
  })
})

describe("times", () => {
  it.each([
    [newYorkTime("2025-01-03T14:00:05-05:00", { seconds: true }), "14:00:05"],
    [newYorkTime("2025-07-03T18:00:05Z"), "14:00"],
    [newYorkTime("2025-01-04T05:00:00Z"), "00:00"],
    [newYorkDay("2025-01-04T02:00:00Z"), "Fri 3 Jan"],
    [isoDay("2025-01-04T02:00:00Z"), "2025-01-03"],
    [dayInWords("2025-01-03"), "Fri 3 Jan 2025"],
    [spanInWords("2022-01-01..2024-12-31"), "2022 to 2024"],
    [spanInWords("2022-01-03..2024-12-31"), "Mon 3 Jan 2022 to Tue 31 Dec 2024"],
    [wallMoment(Date.parse("2025-01-03T14:35:00Z") / 1000), "3 Jan 2025 14:35"],
    [wallMoment(Date.parse("2025-01-03T00:00:00Z") / 1000), "3 Jan 2025"],
    [fullHour(9), "09:00"],
    [duration(7.9), "7 s"],
    [duration(245), "4 min 05 s"],
    [duration(3780), "1 h 03 min"],
    [duration(187_200), "2 d 4 h"],
    [duration(-3), "0 s"],
    [age(null), "age unknown"],
  ])("%s", (written, expected) => {
    expect(written).toBe(expected)
  })
})

describe("words", () => {
  it("are those of a sentence", () => {
    expect(inWordsAtStart("NO_TRADE")).toBe("No trade")
    expect(withoutMark("DEMO: Neutral at 11:00.")).toBe("Neutral at 11:00.")
  })
})

it("prices and shares are told from the words around them", () => {
  expect(partsOf("SPY at $1,446.31 is −$1.10 (−0.25%) from its open, below VWAP.")).toEqual([
    "SPY at ",
    "$1,446.31",
    " is ",
    "−$1.10",
    " (",
    "−0.25%",
    ") from its open, below VWAP.",
  ])
})

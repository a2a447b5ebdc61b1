import { afterEach, describe, expect, it, vi } from "vitest"
import { signalOf } from "../../live/fixtures.ts"
import { alarm, isWanted } from "./alarm.ts"
import { announcement } from "./sentence.ts"
import { parsedChoice } from "./settings.svelte.ts"

const BUY = signalOf({ action: "BUY_CALL", probability: 0.612 })
const ALL = { notify: true, sound: false, tradesOnly: false }

afterEach(() => {
  vi.unstubAllGlobals()
})

it("says the action, the hour, until when it holds, and the probability", () => {
  expect(announcement(BUY)).toBe(
    "SPY: BUY CALL. Decided for 12:00 New York, locked until 13:00. Probability 61.2%; the card says what that is worth.",
  )
})

it("says why there is no trade, and that a market is not the real one", () => {
  const gate = { gate: "probability", passed: false, code: "NEUTRAL_ZONE", reason: "DEMO: Neutral at 12:00." } as const
  expect(announcement(signalOf({ source: "demo", gates: [gate] }))).toBe(
    "DEMO. SPY: NO TRADE. Decided for 12:00 New York, locked until 13:00. Neutral at 12:00.",
  )
})

describe("an alert", () => {
  it.each([
    [BUY, ALL, true],
    [signalOf(), ALL, true],
    [signalOf(), { ...ALL, tradesOnly: true }, false],
    [BUY, { ...ALL, tradesOnly: true }, true],
    [BUY, { notify: false, sound: false, tradesOnly: false }, false],
  ])("is wanted as the viewer chose", (signal, choice, wanted) => {
    expect(isWanted(signal, choice)).toBe(wanted)
  })

  it("is a notification of the browser, one for each ticker, if it is allowed", () => {
    const shown: unknown[] = []
    const Fake = Object.assign(
      function (title: string, options: object) {
        shown.push([title, options])
      },
      { permission: "granted" },
    )
    vi.stubGlobal("Notification", Fake)
    alarm(BUY, ALL)
    expect(shown).toMatchObject([["SPY: BUY CALL", { tag: "SPY signal" }]])
    Fake.permission = "denied"
    alarm(BUY, ALL)
    expect(shown).toHaveLength(1)
  })
})

it.each([null, "", "{", "7", "[]", '{"notify": "yes"}'])("what is kept as %s is no choice", (text) => {
  expect(parsedChoice(text)).toEqual({ notify: false, sound: false, tradesOnly: false })
})

it("a choice is kept", () => {
  expect(parsedChoice(JSON.stringify({ ...ALL, tradesOnly: true }))).toEqual({ ...ALL, tradesOnly: true })
})
